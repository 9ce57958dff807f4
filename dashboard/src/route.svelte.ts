// Where the reader is: a page and its parameters, kept in the address behind `#`
// so that every view can be bookmarked and sent.

import { hashOf, parseHash, type PageKey, type Parameters } from './words/hash';

export { hashOf, PAGES, type PageKey } from './words/hash';

/** Parameters that stay when the page changes: what the reader looks at. */
const SHARED = ['model', 'outcome', 'arm'];

class Route {
  #at = $state(parseHash(window.location.hash));

  constructor() {
    window.addEventListener('hashchange', () => (this.#at = parseHash(window.location.hash)));
  }

  get page(): PageKey {
    return this.#at.page;
  }

  get parameters(): Parameters {
    return this.#at.parameters;
  }

  get known(): boolean {
    return this.#at.known;
  }

  /** The address of another page about the same model, outcome and arm. */
  to(page: PageKey, more: Parameters = {}): string {
    const shared = Object.entries(this.#at.parameters).filter(([name]) => SHARED.includes(name));
    return hashOf(page, { ...Object.fromEntries(shared), ...more });
  }

  /** Changes parameters of this page; null takes one away. The back button skips small moves. */
  change(changes: Record<string, string | null>, remember = false): void {
    const next = { ...this.#at.parameters };
    for (const [name, value] of Object.entries(changes)) {
      if (value === null) delete next[name];
      else next[name] = value;
    }
    const hash = hashOf(this.#at.page, next);
    if (hash === window.location.hash) return;
    window.history[remember ? 'pushState' : 'replaceState'](null, '', hash);
    this.#at = parseHash(hash);
  }
}

/** The page's one route. */
export const route = new Route();
