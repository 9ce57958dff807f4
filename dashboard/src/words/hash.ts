// The address behind `#`: pages and their parameters, read and written.

/** The pages, in the order of the menu. */
export const PAGES = [
  { key: 'overview', title: 'Overview', group: 'Results' },
  { key: 'health', title: 'Health', group: 'Results' },
  { key: 'quality', title: 'Uplift quality', group: 'Results' },
  { key: 'deciles', title: 'Deciles', group: 'Results' },
  { key: 'targeting', title: 'Targeting & budget', group: 'Decide' },
  { key: 'what-if', title: 'What-if', group: 'Decide' },
  { key: 'live', title: 'Live', group: 'Operate' },
  { key: 'models', title: 'Models', group: 'Operate' },
] as const;

/** The key of a page. */
export type PageKey = (typeof PAGES)[number]['key'];

/** Parameters of a page as text. */
export type Parameters = Record<string, string>;

/** Reads `#/page?a=1`; unknown pages lead to the overview. */
export function parseHash(hash: string): { page: PageKey; parameters: Parameters; known: boolean } {
  const [path = '', search = ''] = hash.replace(/^#\/?/, '').split('?', 2);
  const found = PAGES.find((page) => page.key === path);
  return { page: found?.key ?? 'overview', parameters: Object.fromEntries(new URLSearchParams(search)), known: found !== undefined || path === '' };
}

/** Writes the address of a page. */
export function hashOf(page: PageKey, parameters: Parameters): string {
  const search = new URLSearchParams(parameters).toString();
  return `#/${page}${search ? `?${search}` : ''}`;
}
