/** HTML from templates: whatever is put into one is escaped, unless it is a piece of HTML already. */

/** A piece of HTML. */
export class Html {
  constructor(readonly text: string) {}

  toString(): string {
    return this.text
  }
}

/** What a template takes; false and undefined come to nothing. */
export type Insert = Html | string | number | false | undefined | readonly Insert[]

/**
 * A piece of HTML.
 *
 * @example html`<td title="${name}">${count}</td>`
 */
export function html(parts: TemplateStringsArray, ...inserts: readonly Insert[]): Html {
  let text = parts[0] ?? ''
  for (const [index, insert] of inserts.entries()) text += markup(insert) + (parts[index + 1] ?? '')
  return new Html(text)
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Text as it stands between tags or in a quoted attribute. Control characters have no place in a page. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, character => ENTITIES[character] ?? '').replace(/\p{Cc}/gu, '\ufffd')
}

function markup(insert: Insert): string {
  if (insert === false || insert === undefined) return ''
  if (insert instanceof Html) return insert.text
  if (typeof insert === 'object') return insert.map(markup).join('')
  return escapeHtml(String(insert))
}
