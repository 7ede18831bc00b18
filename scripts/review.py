# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"Print a review and the buyback schedules of a database as tables"
import argparse
import datetime as dt
import sys
from decimal import Decimal

import trytond.config as config

COLUMNS = [
    'gross_revenue', 'concessions', 'net_revenue', 'buyback_principal',
    'buyback_interest', 'buyback_paid', 'imputed_revenue', 'actual',
    'target', 'interactions']
INSTALMENT = [
    'due_date', 'kind', 'principal', 'interest', 'amount',
    'outstanding_after', 'paid_amount', 'paid_date', 'state']


def text(value):
    if value is None:
        return ''
    if isinstance(value, Decimal):
        return f'{value:,.2f}'
    return str(value)


def print_table(title, header, rows):
    "Print the rows aligned, their numbers on the right"
    cells = [[text(c) for c in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells)]
    # A title of two words or more takes two lines
    words = [h.split() for h in header]
    heads = [
        [' '.join(w[:-1]), w[-1]] if len(w) > 1 else ['', *w] for w in words]
    widths = [
        max(map(len, (*head, *column)))
        for head, column in zip(heads, zip(*cells))
        ] if cells else widths
    right = [
        any(isinstance(row[i], (Decimal, int)) for row in rows)
        for i in range(len(header))]

    def line(values):
        return '  '.join(
            v.rjust(w) if r else v.ljust(w)
            for v, w, r in zip(values, widths, right)).rstrip()

    print(f'\n{title}\n')
    for i in range(2):
        print(line([h[i] for h in heads]))
    rule = '  '.join('-' * w for w in widths)
    print(rule)
    for row in cells:
        if not any(row):
            print(rule)
        else:
            print(line(row))
    if not cells:
        print("(nothing)")


def label(Model, name):
    return Model.fields_get([name])[name]['string']


def selection(record, name):
    "Give the translated text of the selection"
    value = getattr(record, name)
    definition = record.fields_get([name])[name]['selection']
    if isinstance(definition, str):
        definition = getattr(record, definition)()
    return dict(definition).get(value, value)


def print_review(start=None, end=None):
    "Print the months of the review of the period, by default of the last one"
    from trytond.pool import Pool
    from trytond.transaction import Transaction

    pool = Pool()
    Month = pool.get('prm.review.month')
    Review = pool.get('prm.review')
    domain = []
    if start and end:
        domain = [('start_date', '=', start), ('end_date', '=', end)]
    reviews = Review.search(
        domain, order=[('end_date', 'DESC'), ('id', 'DESC')], limit=1)
    if reviews:
        review, = reviews
        start, end = review.start_date, review.end_date
        title = f"{label(Review, 'months')} - {review.rec_name}"
    elif start and end:
        review, title = None, f"{start} - {end}"
    else:
        return
    names = [n for n in COLUMNS if n in Month._fields]
    with Transaction().set_context(start_date=start, end_date=end):
        months = Month.search([], order=[('date', 'ASC')])
        rows = [
            [f'{m.date:%Y-%m}', *(getattr(m, n) for n in names)]
            for m in months]
        header = [label(Month, n) for n in ['date', *names]]
    if review:
        rows.append([None] * (len(names) + 1))
        rows.append([
                f'{start:%Y-%m} - {end:%m}',
                *(getattr(review, n, None) for n in names)])
    print_table(title, header, rows)
    if review:
        print()
        for finding in review.findings:
            print(f"* {selection(finding, 'kind')}: {finding.text}")


def print_buybacks():
    "Print the schedule of the buybacks"
    from trytond.pool import Pool

    pool = Pool()
    Buyback = pool.get('prm.buyback')
    Instalment = pool.get('prm.buyback.instalment')
    names = [n for n in INSTALMENT if n in Instalment._fields]
    header = [label(Instalment, n) for n in names]
    for buyback in Buyback.search([], order=[('id', 'ASC')]):
        rows = [[
                selection(instalment, n)
                if Instalment._fields[n]._type == 'selection'
                else getattr(instalment, n) for n in names]
            for instalment in buyback.instalments]
        totals = [
            sum(row[i] for row in rows)
            if n in {'principal', 'interest', 'amount', 'paid_amount'}
            else None for i, n in enumerate(names)]
        rows += [[None] * len(names), totals]
        print_table(
            f"{Buyback.__string__} {buyback.rec_name} - "
            f"{buyback.quantity} {buyback.share_class.rec_name}",
            header, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('-c', '--config', nargs='+', metavar='FILE')
    parser.add_argument('-d', '--database', required=True)
    parser.add_argument('--start', type=dt.date.fromisoformat,
        help="first day of the period [of the last review]")
    parser.add_argument('--end', type=dt.date.fromisoformat,
        help="last day of the period [of the last review]")
    options = parser.parse_args()
    config.update_etc(options.config)

    from trytond.pool import Pool
    from trytond.transaction import Transaction

    Pool.start()
    Pool(options.database).init()
    with Transaction().start(options.database, 1, readonly=True):
        pool = Pool()
        User = pool.get('res.user')
        context = User.get_preferences(context_only=True)
    with Transaction().start(
            options.database, 1, readonly=True, context=context):
        print_review(options.start, options.end)
        print_buybacks()


if __name__ == '__main__':
    sys.exit(main())
