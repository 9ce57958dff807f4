// The theme's colours for charts, read from the style sheet so that both can never differ.
import type { Look } from './spec';

/** Reads the colours that hold for an element now. */
export function lookOf(element: Element): Look {
  const style = getComputedStyle(element);
  const token = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    ink: token('ink'),
    muted: token('muted'),
    faint: token('faint'),
    grid: token('line'),
    surface: token('surface'),
    accent: token('accent'),
    other: token('other'),
    good: token('good'),
    bad: token('bad'),
    caution: token('caution'),
    font: style.fontFamily,
  };
}
