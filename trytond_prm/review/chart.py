# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"""The charts of the printed review, as SVG

They take plain labels and numbers. The shades, from dark to light, and the
dashes tell the series apart, so that they can be read in black and white.
"""
import datetime as dt

import cssselect2
import pygal
import tinycss2
from lxml import etree
from pygal.style import Style

DARK, MIDDLE, LIGHT = '#1f3a5f', '#7d93ad', '#c5d0dc'
ACCENT = '#b5651d'
_COLORS = DARK, ACCENT, MIDDLE, '#111111'
_DASHES = None, '8,4', '2,4', '10,3,2,3'
# The dashes as the legend shows them
_SAMPLES = '───', '─ ─ ─', '· · · ·', '─ · ─'
_FONT = 'DejaVu Sans, Liberation Sans, sans-serif'


def _chart(class_, colors, formatter, width=800, height=225, **options):
    style = Style(
        background='transparent', plot_background='transparent',
        foreground='#333333', foreground_strong='#111111',
        foreground_subtle='#aaaaaa', colors=colors, font_family=_FONT,
        opacity='1', opacity_hover='1', transition='0s',
        label_font_size=12, major_label_font_size=12, legend_font_size=13,
        value_font_size=12, value_label_font_size=12,
        guide_stroke_color='#d5d5d5', major_guide_stroke_color='#c0c0c0')
    options.setdefault('show_legend', True)
    return class_(
        style=style, value_formatter=formatter,
        width=width, height=height, explicit_size=False,
        disable_xml_declaration=True, js=[], no_data_text='–', margin=6,
        legend_at_bottom=True, legend_box_size=11,
        truncate_legend=-1, truncate_label=-1, max_scale=6, **options)


def _render(chart):
    svg = etree.fromstring(chart.render(is_unicode=True))
    _break_lines(svg)
    return _inline(svg)


def _break_lines(svg):
    "Put each line of the texts in its own element, as SVG has no line break"
    for element in svg.iter('{*}text'):
        first, *others = (element.text or '').split('\n')
        element.text = first
        for line in others:
            element.append(element.makeelement(
                    etree.QName(element, 'tspan'),
                    {'x': element.get('x'), 'dy': '1.25em'}))
            element[-1].text = line


def _inline(svg):
    """Return the text of the SVG with its style sheet in its elements

    Text processors do not know style sheets in images.
    """
    matcher = cssselect2.Matcher()
    for element in list(svg.iter('{*}style', '{*}script')):
        if etree.QName(element).localname == 'style':
            rules = tinycss2.parse_stylesheet(
                element.text or '', skip_comments=True, skip_whitespace=True)
            for rule in rules:
                if rule.type != 'qualified-rule':
                    continue
                declarations = [
                    (d.name, tinycss2.serialize(d.value).strip().replace(
                            'transparent', 'none'))
                    for d in tinycss2.parse_blocks_contents(rule.content)
                    if d.type == 'declaration' and d.name != 'transition']
                for selector in cssselect2.compile_selector_list(
                        rule.prelude):
                    matcher.add_selector(selector, declarations)
        element.getparent().remove(element)
    wrapper = cssselect2.ElementWrapper.from_xml_root(svg)
    for element in wrapper.iter_subtree():
        style = {}
        for *_, declarations in sorted(
                matcher.match(element), key=lambda m: m[:2]):
            style.update(declarations)
        if style:
            own = element.etree_element.get('style')
            element.etree_element.set('style', '; '.join([
                        *(f'{n}: {v}' for n, v in style.items()),
                        *([own] if own else [])]))
    return etree.tostring(svg, encoding='unicode')


def bridge(steps, formatter):
    """Return the bridge of (label, value, total) steps

    A step that is a total stands on zero, the others go on from the one
    before: up when positive and down when negative. The values are below the
    labels.
    """
    base, total, change = [], [], []
    level = 0
    for _, value, is_total in steps:
        value = float(value)
        if is_total:
            level = value
            row = 0, value, 0
        else:
            row = min(level, level + value), 0, abs(value)
            level += value
        for serie, amount in zip([base, total, change], row):
            serie.append(amount)
    chart = _chart(
        pygal.StackedBar, ('transparent', DARK, ACCENT), formatter,
        height=220, show_legend=False, spacing=25, margin_bottom=16)
    chart.x_labels = [
        f'{label}\n{formatter(value)}' for label, value, _ in steps]
    for serie in [base, total, change]:
        chart.add(None, serie)
    return _render(chart)


def bars(labels, series, formatter):
    "Return the bars of (label, values), side by side"
    chart = _chart(
        pygal.Bar, (DARK, MIDDLE, LIGHT), formatter, spacing=14,
        legend_at_bottom_columns=len(series))
    chart.x_labels = labels
    for label, values in series:
        chart.add(label, _floats(values))
    return _render(chart)


def lines(labels, series, formatter, maximum=None):
    "Return the lines of (label, values), each with its own dash"
    series = [(label, _floats(values)) for label, values in series]
    if maximum is None:
        maximum = 1.1 * max((
                v for _, values in series for v in values if v is not None),
            default=1)
    chart = _chart(
        pygal.Line, _COLORS, formatter,
        height=205, range=(0, maximum),
        include_x_axis=True, margin_right=40,
        allow_interruptions=True, legend_at_bottom_columns=len(series))
    chart.x_labels = labels
    for (label, values), style in zip(series, _styles()):
        chart.add(
            f'{label} {style.pop("sample")}', values, dots_size=4, **style)
    return _render(chart)


def _styles():
    "Yield the style of the line of each series with its sample"
    for dash, sample in zip(_DASHES, _SAMPLES):
        stroke = {'width': 3}
        if dash:
            stroke['dasharray'] = dash
        yield {'sample': sample, 'stroke_style': stroke}


def series(dates, series, marks, formatter, maximum=None):
    """Return the (label, values) by month, with the marks on the time line

    The marks are (letter, date), drawn as vertical lines.
    """
    middle = dt.timedelta(days=14)
    values = [float(v) for _, vs in series for v in vs if v is not None]
    if maximum is None:
        # Room for the letters of the marks above the lines
        maximum = 1.3 * max(values, default=1) or 1
    chart = _chart(
        pygal.DateLine, (*_COLORS[:len(series)], '#444444'),
        formatter, height=205, range=(0, maximum), margin_right=30,
        include_x_axis=True, print_labels=True,
        x_value_formatter=lambda date: date.strftime('%m/%Y'),
        legend_at_bottom_columns=len(series))
    chart.x_labels = dates[::max(1, len(dates) // 12)]
    for (label, values), style in zip(series, _styles()):
        chart.add(f'{label} {style.pop("sample")}', [
                (date + middle, float(value))
                for date, value in zip(dates, values) if value is not None],
            dots_size=3, **style)
    chart.add(None, [
            point for letter, date in marks for point in [
                (date, 0), {'value': (date, maximum), 'label': letter}, None]],
        stroke_style={'width': 1.5, 'dasharray': '3,3'}, dots_size=1,
        allow_interruptions=True)
    return _render(chart)


def shares(values, formatter):
    "Return the horizontal bars of (label, value), the largest on top"
    values = sorted(values, key=lambda v: v[1])
    chart = _chart(
        pygal.HorizontalBar, (DARK,), formatter,
        height=60 + 30 * len(values), show_legend=False, spacing=14)
    chart.x_labels = [
        f'{label} – {formatter(float(value))}' for label, value in values]
    chart.add(None, [float(value) for _, value in values])
    return _render(chart)


def _floats(values):
    return [None if v is None else float(v) for v in values]
