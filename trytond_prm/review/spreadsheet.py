# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from io import BytesIO

import xlsxwriter
from xlsxwriter.utility import xl_rowcol_to_cell as cell

from trytond.i18n import gettext
from trytond.pool import Pool
from trytond.report import Report

from .review import FIGURES

_RATES = {
    'concession_rate', 'attainment', 'tension', 'tension_customer',
    'tension_partner', 'tension_staff'}
_NUMBERS = {'partners_lost', 'interactions'}
# The figures that come from others above them
_FORMULAS = {
    'gross_revenue': '={ledger_revenue}+{booked_concessions}',
    'net_revenue': '={gross_revenue}-{concessions}',
    'concession_rate': '=IF({gross_revenue}=0,"",'
    '{concessions}/{gross_revenue})',
    'buyback_paid': '={buyback_principal}+{buyback_interest}',
    'imputed_revenue': '={net_revenue}-{buyback_paid}',
    'attainment': '=IF(N({target})=0,"",{actual}/{target})',
    }
# The figures of which the total is not a sum
_AVERAGES = {
    'tension', 'tension_customer', 'tension_partner', 'tension_staff'}


class ReviewSpreadsheet(Report):
    "The figures of a review with the formulas between them."
    __name__ = 'prm.review.spreadsheet'

    @classmethod
    def _execute(cls, records, header, data, action):
        pool = Pool()
        FieldAccess = pool.get('ir.model.field.access')
        Review = pool.get('prm.review')
        review = Review(records[0].id)
        access = FieldAccess.get_access(['prm.review'])['prm.review']
        names = [
            n for n in FIGURES if access.get(n, {}).get('read', True)]
        labels = {
            n: d['string'] for n, d in Review.fields_get(names).items()}
        output = BytesIO()
        with xlsxwriter.Workbook(output, {
                    'in_memory': True,
                    'default_date_format': 'yyyy-mm-dd',
                    }) as workbook:
            digits = '0' * review.currency.digits
            formats = {
                'bold': workbook.add_format({'bold': True}),
                'amount': workbook.add_format(
                    {'num_format': f'#,##0.{digits}' if digits else '#,##0'}),
                'rate': workbook.add_format({'num_format': '0.00%'}),
                'number': workbook.add_format({'num_format': '0'}),
                'month': workbook.add_format({'num_format': 'yyyy-mm'}),
                }
            cls._figures(workbook, formats, review, names, labels)
            cls._months(workbook, formats, review, names, labels)
        return 'xlsx', output.getvalue()

    @classmethod
    def _figures(cls, workbook, formats, review, names, labels):
        sheet = workbook.add_worksheet(gettext('prm.msg_review_sheet_figures'))
        sheet.set_column(0, 0, 28)
        sheet.set_column(1, 3, 16)
        sheet.write_row(0, 0, [review.rec_name, *(
                    gettext(f'prm.msg_review_sheet_{n}')
                    for n in ['period', 'comparison', 'change'])],
            formats['bold'])
        rows = {name: i for i, name in enumerate(names, 1)}
        for name, row in rows.items():
            format_ = cls._format(formats, name)
            sheet.write(row, 0, labels[name])
            values = [getattr(review, name)]
            if hasattr(type(review), f'compare_{name}'):
                values.append(getattr(review, f'compare_{name}'))
            for column, value in enumerate(values, 1):
                cls._write(
                    sheet, row, column, name, value,
                    {n: cell(r, column) for n, r in rows.items()}
                    # The comparison has no row of the ledger
                    if column == 1 or name != 'gross_revenue' else None,
                    format_)
            if None not in values and len(values) == 2:
                sheet.write_formula(
                    row, 3, f'={cell(row, 1)}-{cell(row, 2)}', format_,
                    float(values[0] - values[1]))

    @classmethod
    def _months(cls, workbook, formats, review, names, labels):
        sheet = workbook.add_worksheet(gettext('prm.msg_review_sheet_months'))
        sheet.freeze_panes(1, 1)
        sheet.set_column(0, len(names), 16)
        sheet.write_row(
            0, 0, [gettext('prm.msg_review_sheet_month'),
                *(labels[n] for n in names)], formats['bold'])
        columns = {name: i for i, name in enumerate(names, 1)}
        months = review.all_months
        for row, (date, values) in enumerate(months, 1):
            sheet.write_datetime(row, 0, date, formats['month'])
            for name, column in columns.items():
                cls._write(
                    sheet, row, column, name, values[name],
                    {n: cell(row, c) for n, c in columns.items()},
                    cls._format(formats, name))
        total = len(months) + 1
        sheet.write(
            total, 0, gettext('prm.msg_review_sheet_total'), formats['bold'])
        for name, column in columns.items():
            format_ = cls._format(formats, name)
            if name in _AVERAGES or not months:
                continue
            if name in _RATES:
                formula = _FORMULAS[name].format(**{
                        n: cell(total, c) for n, c in columns.items()})
                sheet.write_formula(total, column, formula, format_)
            else:
                sheet.write_formula(
                    total, column,
                    f'=SUM({cell(1, column)}:{cell(total - 1, column)})',
                    format_, float(sum(v[name] or 0 for _, v in months)))

    @classmethod
    def _write(cls, sheet, row, column, name, value, cells, format_):
        if value is None:
            sheet.write_blank(row, column, None, format_)
        elif cells and name in _FORMULAS:
            sheet.write_formula(
                row, column, _FORMULAS[name].format(**cells), format_,
                float(value))
        else:
            sheet.write_number(row, column, value, format_)

    @classmethod
    def _format(cls, formats, name):
        if name in _RATES:
            return formats['rate']
        return formats['number' if name in _NUMBERS else 'amount']
