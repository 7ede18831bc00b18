# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"""The printed review as a text document

The document is made of the page that is also printed as PDF, so both tell
the same. It knows the elements that this page uses and no other: an unknown
one gives its text only.
"""
import base64
import re
import zipfile
from collections import namedtuple
from io import BytesIO
from itertools import zip_longest
from xml.sax.saxutils import escape, quoteattr

import lxml.html

_MIMETYPE = 'application/vnd.oasis.opendocument.text'
_WIDTH = 17.0  # cm between the margins
_DATA = re.compile(r'data:image/svg\+xml;base64,(.*)', re.DOTALL)
_VIEW_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_WIDEST = 22  # characters of a cell on one line
_LINE = 100  # characters of a row
_NAMESPACES = ' '.join(
    f'xmlns:{prefix}="{uri}"' for prefix, uri in [
        ('office', 'urn:oasis:names:tc:opendocument:xmlns:office:1.0'),
        ('style', 'urn:oasis:names:tc:opendocument:xmlns:style:1.0'),
        ('text', 'urn:oasis:names:tc:opendocument:xmlns:text:1.0'),
        ('table', 'urn:oasis:names:tc:opendocument:xmlns:table:1.0'),
        ('draw', 'urn:oasis:names:tc:opendocument:xmlns:drawing:1.0'),
        ('fo', 'urn:oasis:names:tc:opendocument:xmlns:'
            'xsl-fo-compatible:1.0'),
        ('svg', 'urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0'),
        ('xlink', 'http://www.w3.org/1999/xlink'),
        ('dc', 'http://purl.org/dc/elements/1.1/'),
        ('manifest', 'urn:oasis:names:tc:opendocument:xmlns:manifest:1.0'),
        ])
# The pictures and the styles of the columns that the document collects
_Document = namedtuple('_Document', ['pictures', 'columns'])
_HEADER = '<?xml version="1.0" encoding="UTF-8"?>\n'


def _style(name, family, properties, parent=None, level=None, title=None):
    attributes = f'style:name="{name}" style:family="{family}"'
    if parent:
        attributes += f' style:parent-style-name="{parent}"'
    if level:
        attributes += f' style:default-outline-level="{level}"'
    if title:
        attributes += f' style:display-name="{title}"'
    return f'<style:style {attributes}>{properties}</style:style>'


def _paragraph(paragraph='', text=''):
    return (
        f'<style:paragraph-properties {paragraph}/>'
        f'<style:text-properties {text}/>')


def _heading(level, size, margin):
    return _style(
        f'Heading_20_{level}', 'paragraph', _paragraph(
            f'fo:margin-top="{margin}cm" fo:margin-bottom="0.2cm" '
            'fo:keep-with-next="always"',
            f'fo:font-size="{size}pt" fo:font-weight="bold" '
            'fo:color="#1f3a5f"'), 'Standard', level, f'Heading {level}')


_STYLES = ''.join([
        '<style:default-style style:family="paragraph">', _paragraph(
            text='fo:font-family="DejaVu Sans" fo:font-size="8.5pt" '
            'fo:language="{language}" fo:country="none"'),
        '</style:default-style>',
        _style('Standard', 'paragraph', _paragraph(
                'fo:margin-top="0.05cm" fo:margin-bottom="0.05cm"')),
        _heading(1, 20, 0), _heading(2, 12, 0.6), _heading(3, 9.5, 0.3),
        _style('Footer', 'paragraph', _paragraph(
                text='fo:font-size="8pt" fo:color="#555555"'), 'Standard'),
        _style('Small', 'paragraph', _paragraph(
                text='fo:font-size="7.5pt" fo:color="#444444"'), 'Standard'),
        _style('Cell', 'paragraph', _paragraph(), 'Standard'),
        _style('Amount', 'paragraph', _paragraph(
                'fo:text-align="end"'), 'Standard'),
        _style('SmallCell', 'paragraph', _paragraph(
                text='fo:font-size="7pt"'), 'Standard'),
        _style('SmallAmount', 'paragraph', _paragraph(
                'fo:text-align="end"', 'fo:font-size="7pt"'), 'Standard'),
        _style('Strong', 'text',
            '<style:text-properties fo:font-weight="bold"/>'),
        ])
_AUTOMATIC = ''.join([
        _style('Table', 'table',
            f'<style:table-properties style:width="{_WIDTH}cm" '
            'table:align="margins" fo:margin-top="0.1cm" '
            'style:may-break-between-rows="false"/>'),
        _style('Row', 'table-row',
            '<style:table-row-properties fo:keep-together="always"/>'),
        *(_style(name, 'table-cell',
                '<style:table-cell-properties fo:padding-top="0.08cm" '
                'fo:padding-bottom="0.08cm" fo:padding-left="0.12cm" '
                'fo:padding-right="0.12cm" '
                f'fo:border="none" {border}/>')
            for name, border in [
                ('Body', 'fo:border-bottom="0.3pt solid #cccccc"'),
                ('Head', 'fo:border-bottom="0.6pt solid #888888"'),
                ('Total', 'fo:border-bottom="0.3pt solid #cccccc" '
                    'fo:border-top="0.6pt solid #888888"')]),
        _style('Figure', 'graphic',
            '<style:graphic-properties style:vertical-pos="top" '
            'style:vertical-rel="baseline" fo:border="none"/>'),
        '<text:list-style style:name="Bullets">'
        '<text:list-level-style-bullet text:level="1" '
        'text:bullet-char="•"><style:list-level-properties '
        'text:space-before="0.3cm" text:min-label-width="0.4cm"/>'
        '</text:list-level-style-bullet></text:list-style>',
        ])


def from_html(page):
    "Return the content of the text document of the page"
    root = lxml.html.document_fromstring(page)
    language = root.get('lang') or 'en'
    title = root.findtext('head/title') or ''
    document = _Document([], [])
    body = ''.join(_block(e, document) for e in root.find('body'))
    files = {
        'content.xml': _part('content',
            f'<office:automatic-styles>{_AUTOMATIC}'
            f'{"".join(document.columns)}</office:automatic-styles>'
            f'<office:body><office:text>{body}</office:text></office:body>'),
        'styles.xml': _part('styles',
            f'<office:styles>{_STYLES.replace("{language}", language)}'
            '</office:styles>'
            '<office:automatic-styles><style:page-layout style:name="A4">'
            '<style:page-layout-properties fo:page-width="21cm" '
            'fo:page-height="29.7cm" fo:margin="1.8cm" '
            'fo:margin-left="2cm" fo:margin-right="2cm"/>'
            '<style:footer-style><style:header-footer-properties '
            'fo:min-height="0.8cm" fo:margin-top="0.3cm"/>'
            '</style:footer-style></style:page-layout>'
            '</office:automatic-styles>'
            '<office:master-styles><style:master-page '
            'style:name="Standard" style:page-layout-name="A4">'
            '<style:footer><text:p text:style-name="Footer">'
            f'{escape(title)} – <text:page-number/> / <text:page-count/>'
            '</text:p></style:footer>'
            '</style:master-page></office:master-styles>'),
        'meta.xml': _part('meta',
            f'<office:meta><dc:title>{escape(title)}</dc:title>'
            f'<dc:language>{escape(language)}</dc:language></office:meta>'),
        }
    for i, picture in enumerate(document.pictures):
        files[f'Pictures/{i}.svg'] = picture
    output = BytesIO()
    with zipfile.ZipFile(output, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('mimetype', _MIMETYPE, zipfile.ZIP_STORED)
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr('META-INF/manifest.xml', _manifest(files))
    return output.getvalue()


def _part(name, content):
    return (
        f'{_HEADER}<office:document-{name} {_NAMESPACES} '
        f'office:version="1.3">{content}</office:document-{name}>')


def _manifest(files):
    entries = ''.join(
        f'<manifest:file-entry manifest:full-path="{name}" '
        f'manifest:media-type="{type_}"/>'
        for name, type_ in [('/', _MIMETYPE), *(
                (n, 'image/svg+xml' if n.endswith('.svg') else 'text/xml')
                for n in files)])
    return (
        f'{_HEADER}<manifest:manifest {_NAMESPACES} '
        f'manifest:version="1.3">{entries}</manifest:manifest>')


def _block(element, document):
    tag = element.tag
    if tag in {'h1', 'h2', 'h3'}:
        return (
            f'<text:h text:style-name="Heading_20_{tag[1]}" '
            f'text:outline-level="{tag[1]}">{_inline(element)}</text:h>')
    elif tag in {'p', 'figcaption'}:
        return _p(
            _inline(element), 'Standard' if tag == 'p' else 'Small')
    elif tag == 'dl':
        return ''.join(
            _p(f'{_strong(_inline(term))} – {_inline(definition)}', 'Small')
            for term, definition in zip(
                element.iter('dt'), element.iter('dd')))
    elif tag in {'ul', 'ol'}:
        items = ''.join(
            f'<text:list-item>{_p(_inline(item))}</text:list-item>'
            for item in element.iter('li'))
        return (
            f'<text:list text:style-name="Bullets">{items}</text:list>')
    elif tag == 'table':
        return _table(element, document)
    elif tag == 'img':
        return _p(_image(element, document))
    elif isinstance(tag, str):
        return ''.join(_block(e, document) for e in element)
    return ''


def _p(content, style='Standard'):
    return f'<text:p text:style-name="{style}">{content}</text:p>'


def _strong(content):
    return f'<text:span text:style-name="Strong">{content}</text:span>'


def _inline(element):
    parts = [_text(element.text)]
    for child in element:
        if child.tag == 'br':
            parts.append('<text:line-break/>')
        elif 'date' in child.get('class', '').split():
            parts.append(_strong(_inline(child)) + ' ')
        else:
            parts.append(_inline(child))
        parts.append(_text(child.tail))
    return ''.join(parts).strip()


def _text(value):
    return escape(re.sub(r'[ \t\r\n]+', ' ', value or ''))


def _table(element, document):
    rows = list(element.iter('tr'))
    parts = ['<table:table table:style-name="Table">']
    for width in _widths(rows):
        name = f'Column{len(document.columns)}'
        document.columns.append(_style(name, 'table-column',
                '<style:table-column-properties '
                f'style:column-width="{width:.2f}cm"/>'))
        parts.append(f'<table:table-column table:style-name="{name}"/>')
    size = 'Small' if 'months' in element.get('class', '').split() else ''
    head = ''.join(
        _row(r, 'Head', size) for r in rows if r.getparent().tag == 'thead')
    if head:
        parts.append(
            f'<table:table-header-rows>{head}</table:table-header-rows>')
    parts.extend(
        _row(r, 'Total' if 'total' in r.get('class', '') else 'Body', size)
        for r in rows if r.getparent().tag != 'thead')
    parts.append('</table:table>')
    return ''.join(parts)


def _widths(rows):
    "Return the widths of the columns in cm, in proportion to their texts"
    columns = zip_longest(*([
                re.sub(r'[ \t\r\n]+', ' ', cell.text_content()).strip()
                for cell in row] for row in rows), fillvalue='')
    words, texts = [], []
    for column in columns:
        # An amount is one word
        words.append(3 + max(
                len(w) for text in column for w in re.split(' ', text)))
        texts.append(max(min(_WIDEST, max(map(len, column))) + 3, words[-1]))
    room = max(_LINE - sum(words), 0)
    share = min(room / (sum(texts) - sum(words) or 1), 1)
    widths = [w + (t - w) * share for w, t in zip(words, texts)]
    return [_WIDTH * w / sum(widths) for w in widths]


def _row(row, style, size):
    cells = []
    for cell in row:
        content = _inline(cell)
        if style != 'Body':
            content = _strong(content)
        align = 'Amount' if 'amount' in cell.get('class', '') else 'Cell'
        cells.append(
            f'<table:table-cell table:style-name="{style}" '
            f'office:value-type="string">{_p(content, size + align)}'
            '</table:table-cell>')
    return (
        '<table:table-row table:style-name="Row">'
        f'{"".join(cells)}</table:table-row>')


def _image(element, document):
    svg = base64.b64decode(_DATA.match(element.get('src')).group(1))
    width, height = map(
        float, _VIEW_BOX.search(svg.decode('utf-8')).groups())
    name = f'Pictures/{len(document.pictures)}.svg'
    alt = escape(element.get('alt', ''))
    document.pictures.append(svg)
    return (
        f'<draw:frame draw:style-name="Figure" '
        f'draw:name={quoteattr(name)} text:anchor-type="as-char" '
        f'svg:width="{_WIDTH}cm" svg:height="{_WIDTH * height / width:.2f}cm">'
        f'<draw:image xlink:href="{name}" xlink:type="simple" '
        'xlink:show="embed" xlink:actuate="onLoad"/>'
        f'<svg:desc>{alt}</svg:desc></draw:frame>')
