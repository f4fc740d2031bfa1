/** A strict reading of a page: every tag is closed, every attribute quoted, and no stray "<" or "&" is left. */

/** Elements without an end tag (HTML, "void elements"). */
const VOID = new Set(['meta', 'br', 'hr', 'link', 'img', 'input'])
const TAG = /<(\/?)([a-z][a-z0-9]*)((?:\s+[a-zA-Z][\w:-]*(?:="[^"<]*")?)*)\s*(\/?)>/y

/** Whatever is wrong with the page's markup, a line each. */
export function markupFaults(page: string): readonly string[] {
  const faults: string[] = []
  const open: string[] = []
  // What is in these is no markup.
  const text = page.replace(/^<!doctype html>/, '').replace(/(<(style|script)>)[\s\S]*?(<\/\2>)/g, '$1$3')
  for (let at = text.indexOf('<'); at >= 0; at = text.indexOf('<', at)) {
    TAG.lastIndex = at
    const match = TAG.exec(text)
    if (match === null) {
      faults.push(`no tag: ${text.slice(at, at + 40)}`)
      at++
      continue
    }
    at = TAG.lastIndex
    const [, end, name = '', attributes = '', selfClosed] = match
    if (/&(?!#?\w+;)/.test(attributes)) faults.push(`stray & in <${name}>`)
    if (end === '/') {
      const last = open.pop()
      if (last !== name) faults.push(`</${name}> closes <${last}>`)
    } else if (selfClosed !== '/' && !VOID.has(name)) open.push(name)
  }
  for (const name of open) faults.push(`<${name}> is left open`)
  return faults
}

/** Everything that a page would fetch from elsewhere. */
export function outsideReferences(page: string): readonly string[] {
  const references = [...page.matchAll(/\b(?:src|href|action|data|poster|srcset)="([^"]*)"|url\(([^)]*)\)|@import/g)]
  return references
    .map(match => match[1] ?? match[2] ?? match[0])
    .filter(target => !/^(#|data:image\/png;base64,)/.test(target))
}
