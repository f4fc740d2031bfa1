import { describe, expect, it } from 'vitest'
import { Html, html } from '../../../src/report/html.ts'

describe('html', () => {
  it('escapes what it is given, in text and in attributes', () => {
    expect(html`<a title="${'"<\'&'}">${'<b>'}</a>`.text).toBe('<a title="&quot;&lt;&#39;&amp;">&lt;b&gt;</a>')
  })

  it('takes pieces of HTML as they are, and lists of all', () => {
    expect(html`<p>${[html`<b>${1}</b>`, '<', [new Html('<i></i>')]]}</p>`.text).toBe('<p><b>1</b>&lt;<i></i></p>')
  })

  it('leaves out what is not there', () => {
    expect(html`${undefined}${false}${0}${''}`.text).toBe('0')
  })

  it('has no control characters', () => {
    expect(html`${'a\0b\u001bc\u0085d'}`.text).toBe('a\ufffdb\ufffdc\ufffdd')
  })
})
