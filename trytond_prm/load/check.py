# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"""What a folder tells by itself: rules that its rows break together

The models check again when the rows are written.  What is checked here
costs no database and finds every wrong cell at once.
"""
import datetime as dt
from collections import defaultdict
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from xml.etree import ElementTree

from trytond.tools import file_open

from ..associate import schedule

__all__ = ['check']

ORIGIN_KINDS = {'credit_note', 'refund'}
HELD_STATES = {'submitted', 'approved', 'granted'}


def check(folder, today, whole=True):
    """Note the bad cells of the folder

    today is the last date of what has happened.  What the database could
    complete is only checked for a whole folder.
    """
    check_employees(folder)
    check_partners(folder)
    check_invoices(folder, today)
    check_concessions(folder)
    check_interactions(folder, today)
    check_transactions(folder, today)
    check_buybacks(folder)
    check_payments(folder, today)
    check_seasonality(folder)
    check_targets(folder)
    check_actions(folder)
    if whole:
        check_languages(folder)
        check_handovers(folder)
        check_register(folder)
        check_target_codes(folder)


def check_order(folder, row, start, end):
    "The end must not be before the start"
    if row[start] and row[end] and row[end] < row[start]:
        folder.error(
            row, end, 'msg_load_before', column=start,
            date=row[end].isoformat(), start=row[start].isoformat())
        return False
    return True


def check_past(folder, row, column, today):
    "What has happened must not be in the future"
    value = row[column]
    if not value:
        return
    date = value.date() if isinstance(value, dt.datetime) else value
    if date > today:
        folder.error(
            row, column, 'msg_load_future', value=date.isoformat())


def check_required(folder, row, column):
    if row[column] is None and row.valid(column):
        folder.error(row, column, 'msg_load_required')


@cache
def language_codes():
    "The codes of the languages of every new database"
    with file_open('ir/lang.xml', subdir='') as file:
        tree = ElementTree.parse(file)
    # English comes with the database itself
    return {'en'} | {
        f.text for f in tree.iterfind(
            ".//record[@model='ir.lang']/field[@name='code']")}


def check_languages(folder):
    for row in folder['parties']:
        if row['lang'] and row['lang'] not in language_codes():
            folder.error(
                row, 'lang', 'msg_load_language', value=row['lang'])


def check_employees(folder):
    parties = folder.keys('parties')
    for row in folder['employees']:
        check_order(folder, row, 'start_date', 'end_date')
        party = parties.get(row['code'])
        if party and party['name'] != row['name'] and row.valid('name'):
            folder.error(
                row, 'code', 'msg_load_employee_party',
                code=row['code'], name=party['name'])


def check_partners(folder):
    by_party = defaultdict(list)
    for row in folder['partners']:
        check_order(folder, row, 'start_date', 'end_date')
        if row['state'] == 'ended':
            check_required(folder, row, 'end_date')
            check_required(folder, row, 'end_reason')
        elif row['state']:
            for column in ['end_date', 'end_reason']:
                if row[column]:
                    folder.error(
                        row, column, 'msg_load_not_ended',
                        state=row['state'])
        if row['state'] in {'active', 'suspended'}:
            check_required(folder, row, 'manager')
        if row['party'] and row['start_date'] and row.valid('end_date'):
            by_party[row['party']].append(row)
    for rows in by_party.values():
        rows.sort(key=lambda r: (r['start_date'], r.line))
        for previous, row in zip(rows, rows[1:]):
            if (previous['end_date'] is None
                    or row['start_date'] <= previous['end_date']):
                folder.error(
                    row, 'party', 'msg_load_second_partner',
                    party=row['party'], line=previous.line)


def find_partner(folder, party, date):
    "The partner row of the party at the date"
    for row in folder['partners']:
        if (row['party'] == party
                and row['start_date'] and row['start_date'] <= date
                and (row['end_date'] is None or date <= row['end_date'])):
            return row


def check_handovers(folder):
    employees = folder.keys('employees')
    partners = {r['party'] for r in folder['partners']}
    managers = {}
    last = {}
    for row in sorted(
            (r for r in folder['handovers'] if r.valid()),
            key=lambda r: (r['date'], r.line)):
        party, date = row['party'], row['date']
        if row['from'] == row['to']:
            folder.error(
                row, 'to', 'msg_load_handover_same', employee=row['to'])
            continue
        to = employees.get(row['to'])
        if to and to['end_date'] and to['end_date'] < date:
            folder.error(
                row, 'to', 'msg_load_employee_left', employee=row['to'],
                date=to['end_date'].isoformat())
        if party not in partners:
            continue
        partner = find_partner(folder, party, date)
        if not partner:
            folder.error(
                row, 'date', 'msg_load_handover_date', party=party,
                date=date.isoformat())
            continue
        if not partner.valid('manager'):
            continue
        manager = managers.get(id(partner), partner['manager'])
        if row['from'] != manager:
            folder.error(
                row, 'from', 'msg_load_handover_from',
                employee=row['from'], party=party, date=date.isoformat(),
                manager=manager or '')
        elif last.get(id(partner), partner['start_date']) >= date:
            folder.error(
                row, 'date', 'msg_load_handover_late', party=party,
                employee=manager,
                date=last.get(
                    id(partner), partner['start_date']).isoformat())
        else:
            managers[id(partner)] = row['to']
            last[id(partner)] = date


def check_invoices(folder, today):
    for row in folder['invoices']:
        check_past(folder, row, 'date', today)


def check_concessions(folder):
    invoices = folder.keys('invoices')
    granted = defaultdict(Decimal)
    for row in sorted(
            folder['concessions'],
            key=lambda r: (r['date'] or dt.date.max, r.line)):
        kind, state = row['kind'], row['state']
        if kind == 'free_service':
            check_required(folder, row, 'cost')
        invoice = invoices.get(row['invoice'])
        if not invoice:
            continue
        if (row['party'] and invoice['party']
                and row['party'] != invoice['party']):
            folder.error(
                row, 'invoice', 'msg_load_invoice_party',
                invoice=row['invoice'], party=invoice['party'])
        if row['date'] and invoice['date'] and row['date'] < invoice['date']:
            folder.error(
                row, 'date', 'msg_load_invoice_date',
                date=row['date'].isoformat(), invoice=row['invoice'],
                invoice_date=invoice['date'].isoformat())
        if (kind not in ORIGIN_KINDS or state in {'draft', 'cancelled'}
                or row['amount'] is None or invoice['amount'] is None):
            continue
        remaining = invoice['amount'] - granted[row['invoice']]
        if row['amount'] > remaining:
            folder.error(
                row, 'amount', 'msg_load_invoice_exceeded',
                amount=row['amount'], invoice=row['invoice'],
                remaining=remaining)
        elif state in HELD_STATES:
            granted[row['invoice']] += row['amount']


def check_interactions(folder, today):
    for row in folder['interactions']:
        if row['population'] and row['population'] != 'staff':
            check_required(folder, row, 'party')
        if row['state'] == 'done':
            check_past(folder, row, 'date', today)


def check_transactions(folder, today):
    # whether a kind needs (True) or refuses (False) each party
    ends = {
        'issue': (False, True),
        'transfer': (True, True),
        'repurchase': (True, False),
        'cancellation': (None, False),
        }
    for row in folder['share_transactions']:
        check_past(folder, row, 'date', today)
        for column, needed in zip(
                ['party_from', 'party_to'],
                ends.get(row['kind'], (None, None))):
            if needed:
                check_required(folder, row, column)
            elif needed is False and row[column]:
                folder.error(
                    row, column, 'msg_load_transaction_party',
                    kind=row['kind'])
        if (row['kind'] == 'transfer'
                and row['party_from'] and row['party_to']
                and row['party_from'] == row['party_to']):
            folder.error(
                row, 'party_to', 'msg_load_transaction_same',
                party=row['party_to'])


def cents(amount):
    return amount.quantize(Decimal('0.01'), rounding=ROUND_HALF_EVEN)


def check_buybacks(folder):
    for row in folder['buybacks']:
        check_order(folder, row, 'announcement_date', 'signature_date')
        if row['route'] == 'capital_reduction':
            check_order(folder, row, 'decision_date', 'opposition_end')
        price = get_price(row)
        if (price is not None and row['advance']
                and row['advance'] > price):
            folder.error(
                row, 'advance', 'msg_load_advance', advance=row['advance'],
                price=price)
        if row['route'] == 'capital_reduction' and row['opposition_end']:
            for instalment in get_schedule(row) or []:
                if instalment.due_date <= row['opposition_end']:
                    folder.error(
                        row, 'opposition_end', 'msg_load_opposition',
                        due_date=instalment.due_date.isoformat())
                    break


def get_price(row):
    if row['quantity'] is not None and row['unit_price'] is not None:
        return cents(row['quantity'] * row['unit_price'])


def get_schedule(row):
    "Return the instalments of the row of a buyback, None if it is wrong"
    if not row.valid(
            'quantity', 'unit_price', 'number_of_instalments',
            'period_months', 'signature_date', 'method', 'interest_rate',
            'day_count', 'advance'):
        return None
    return schedule.compute(
        get_price(row), row['number_of_instalments'], row['period_months'],
        row['signature_date'], cents, method=row['method'],
        rate=row['interest_rate'] or Decimal(0), day_count=row['day_count'],
        advance=row['advance'] or Decimal(0))


def check_register(folder):
    """The shares that an associate gives must be held at any date

    The shares of a buyback leave at the signature, which reserves them.
    """
    transactions = folder['share_transactions']
    # what is held is not known next to a wrong row
    if not all(r.valid() for r in transactions):
        return
    issued = {r['share_class'] for r in transactions}
    days = defaultdict(list)
    for row in transactions:
        quantity = row['quantity']
        changes = []
        if row['party_from'] or row['kind'] == 'cancellation':
            changes.append((row['party_from'], -quantity))
        if row['party_to'] or row['kind'] == 'repurchase':
            changes.append((row['party_to'], quantity))
        days[row['date']].append((row, changes))
    for row in folder['buybacks']:
        if (row.valid('party', 'share_class', 'quantity', 'signature_date')
                and row['share_class'] in issued):
            days[row['signature_date']].append(
                (row, [(row['party'], -row['quantity'])]))
    held = defaultdict(int)

    def missing(row, changes):
        for party, quantity in changes:
            if held[row['share_class'], party] + quantity < 0:
                return party, -quantity

    for date in sorted(days):
        # what arrives on a day may leave on the same day
        todo = days[date]
        while todo:
            left = []
            for row, changes in todo:
                if missing(row, changes):
                    left.append((row, changes))
                    continue
                for party, quantity in changes:
                    held[row['share_class'], party] += quantity
            if len(left) == len(todo):
                break
            todo = left
        for row, changes in todo:
            party, quantity = missing(row, changes)
            folder.error(
                row, 'quantity', 'msg_load_not_held',
                quantity=quantity, party=party or '',
                held=held[row['share_class'], party],
                share_class=row['share_class'], date=date.isoformat())


def check_payments(folder, today):
    buybacks = folder.keys('buybacks')
    schedules = {}
    remaining = {}
    for code, row in buybacks.items():
        if (instalments := get_schedule(row)) is not None:
            schedules[code] = {i.due_date for i in instalments}
            for instalment in instalments:
                remaining[code, instalment.due_date] = instalment.amount
    for row in sorted(
            folder['payments'],
            key=lambda r: (r['paid_date'] or today, r.line)):
        check_past(folder, row, 'paid_date', today)
        buyback = buybacks.get(row['buyback'])
        if not buyback:
            continue
        if buyback['route'] == 'third_party':
            folder.error(
                row, 'buyback', 'msg_load_third_party',
                buyback=row['buyback'])
            continue
        start = buyback['signature_date']
        if row['paid_date'] and start and row['paid_date'] < start:
            folder.error(
                row, 'paid_date', 'msg_load_paid_early',
                date=row['paid_date'].isoformat(), buyback=row['buyback'],
                signature_date=start.isoformat())
        check_payment(
            folder, row, schedules.get(row['buyback']), remaining)


def check_payment(folder, row, due_dates, remaining):
    """Check the due date of the payment and what remains to pay of it

    What remains by buyback and due date is updated.
    """
    if due_dates is None or not row['due_date']:
        return
    key = row['buyback'], row['due_date']
    if row['due_date'] not in due_dates:
        folder.error(
            row, 'due_date', 'msg_load_due_date', buyback=row['buyback'],
            date=row['due_date'].isoformat(), due_dates=', '.join(
                d.isoformat() for d in sorted(due_dates)))
    elif row['amount']:
        if row['amount'] > remaining[key]:
            folder.error(
                row, 'amount', 'msg_load_overpaid', amount=row['amount'],
                remaining=remaining[key], buyback=row['buyback'],
                date=row['due_date'].isoformat())
        else:
            remaining[key] -= row['amount']


def check_seasonality(folder):
    for row in folder['seasonality']:
        months = [str(m) for m in range(1, 13)]
        if not row.valid(*months):
            continue
        total = sum(row[m] or 0 for m in months)
        if total != 1:
            last = max(
                (m for m in months if row[m]), key=int, default='12')
            folder.error(row, last, 'msg_load_shares', total=total)


def check_targets(folder):
    for row in folder['targets']:
        check_order(folder, row, 'start_date', 'end_date')
        if row['scope'] == 'company':
            if row['code']:
                folder.error(row, 'code', 'msg_load_company_code')
        elif row['scope']:
            check_required(folder, row, 'code')


def check_target_codes(folder):
    known = {
        'team': {r['team'] for r in folder['employees']},
        'employee': folder.keys('employees'),
        'partner': {r['party'] for r in folder['partners']},
        }
    for row in folder['targets']:
        if (row['code'] and row['scope'] in known
                and row['code'] not in known[row['scope']]):
            folder.error(
                row, 'code', 'msg_load_unknown', value=row['code'],
                table={
                    'team': 'employees', 'employee': 'employees',
                    'partner': 'partners'}[row['scope']])


def check_actions(folder):
    for row in folder['actions']:
        check_order(folder, row, 'start_date', 'due_date')
        if row['state'] in {'shelved', 'abandoned'}:
            check_required(folder, row, 'why')
