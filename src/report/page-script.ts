/** The page's script: says under a picture what time and address the pointer is at. All else works without it. */
export const PAGE_SCRIPT = `
for (const figure of document.querySelectorAll('[data-picture]')) {
  const { left, width, firstMs, lastMs, rowHeight, bands } = JSON.parse(figure.dataset.picture)
  const svg = figure.querySelector('svg')
  const caption = figure.querySelector('figcaption')
  const time = ms => ms < 1 ? (ms * 1000).toFixed(1) + ' us' : ms < 1000 ? ms.toFixed(3) + ' ms' : (ms / 1000).toFixed(4) + ' s'
  svg.addEventListener('mousemove', event => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse())
    const band = bands.find(({ top, rows }) => at.y >= top && at.y < top + rows.length * rowHeight)
    const share = (at.x - left) / width
    if (!band || share < 0 || share > 1) return void (caption.textContent = '\\u00a0')
    const address = band.rows[Math.floor((at.y - band.top) / rowHeight)]
    const title = event.target.querySelector && event.target.querySelector('title')
    const what = title && event.target.getAttribute('class') !== 'ground' ? '   ' + title.textContent : ''
    caption.textContent = time(firstMs + share * (lastMs - firstMs)) + '   0x' + (address - address % 4096).toString(16) + what
  })
  svg.addEventListener('mouseleave', () => void (caption.textContent = '\\u00a0'))
}
`
