// Light or dark: the system's choice until the reader makes one.

type Choice = 'system' | 'light' | 'dark';
const KEY = 'impactiq-theme';

function stored(): Choice {
  const value = localStorage.getItem(KEY);
  return value === 'light' || value === 'dark' ? value : 'system';
}

class Theme {
  #system = window.matchMedia('(prefers-color-scheme: dark)');
  #choice = $state<Choice>(stored());
  #systemDark = $state(this.#system.matches);

  constructor() {
    this.#system.addEventListener('change', (event) => {
      this.#systemDark = event.matches;
      this.#apply();
    });
    this.#apply();
  }

  /** What is shown now. */
  get shown(): 'light' | 'dark' {
    return this.#choice === 'system' ? (this.#systemDark ? 'dark' : 'light') : this.#choice;
  }

  toggle(): void {
    this.#choice = this.shown === 'dark' ? 'light' : 'dark';
    localStorage.setItem(KEY, this.#choice);
    this.#apply();
  }

  #apply(): void {
    document.documentElement.dataset['theme'] = this.shown;
  }
}

/** The page's one theme. */
export const theme = new Theme();
