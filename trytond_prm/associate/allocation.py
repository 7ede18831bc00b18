# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"""Which entry pays which instalment, in one SQL statement.

What is owed (the dues: our payable lines, by due date, interest before
principal as C. civ. 1343-1 asks) and what is entered against it on the same
account and party are laid end to end on two parallel scales.  An entry pays
a due as far as they overlap:

    dues      |interest|      principal       |interest|    principal   |
    entries   |      payment 1        |  payment 2       | waiver |

Dues and entries are only laid together if they belong together:

  * closed: they are reconciled together;
  * linked: the entry clears a payment of this very due;
  * owned: the entry is our waiver of this buyback, what is due last is waived
    first;
  * open: none is reconciled, the oldest due is paid first;
  * dead: the entry is only reconciled with its own reversal, it is laid on
    all the dues from where the former payments end, so that it pays what it
    paid before it was taken back, and its reversal takes the same back.

Our own entries (reschedule, delegation, cancellation) and write-offs use up
dues but they pay nothing.
"""
from sql import Cast, Literal, Null, Union, Window, With
from sql.aggregate import Min, Sum
from sql.conditionals import Case, Coalesce, Greatest, Least
from sql.functions import Abs, Round
from sql.operators import Exists

from trytond import backend
from trytond.model import fields
from trytond.pool import Pool

from ..tools import sql_reference

_SCALE = 10 ** 6


def _exact(expression):
    "Amount as integer where the database counts in floating point"
    if backend.name == 'sqlite':
        return Cast(Round(expression * _SCALE), 'INTEGER')
    return expression


def _amount(expression):
    "Amount of an exact expression"
    if backend.name == 'sqlite':
        return expression / Literal(float(_SCALE))
    return expression


def _select(query, *names, **kwargs):
    return query.select(*[
            getattr(query, name).as_(name) for name in names], **kwargs)


_CHANNEL = ['account', 'party', 'currency']


def _same(left, right, names):
    condition = Literal(True)
    for name in names:
        condition &= getattr(left, name) == getattr(right, name)
    return condition


def dues_query(buybacks=None):
    """Return the SQL query of what is owed on posted lines

    Limited to the parties of the buybacks if given.
    """
    pool = Pool()
    Buyback = pool.get('prm.buyback')
    Company = pool.get('company.company')
    Instalment = pool.get('prm.buyback.instalment')
    Line = pool.get('account.move.line')
    Move = pool.get('account.move')
    Portion = pool.get('prm.buyback.instalment.line')
    buyback = Buyback.__table__()
    company = Company.__table__()
    instalment = Instalment.__table__()
    line = Line.__table__()
    move = Move.__table__()
    portion = Portion.__table__()

    where = move.state == 'posted'
    if buybacks is not None:
        where &= line.party.in_(_parties(buybacks))
    return (portion
        .join(instalment, condition=portion.instalment == instalment.id)
        .join(buyback, condition=instalment.buyback == buyback.id)
        .join(company, condition=buyback.company == company.id)
        .join(line, condition=portion.line == line.id)
        .join(move, condition=line.move == move.id)
        .select(
            portion.id.as_('due'),
            portion.nature.as_('nature'),
            instalment.id.as_('instalment'),
            buyback.id.as_('buyback'),
            buyback.company.as_('company'),
            company.currency.as_('company_currency'),
            line.id.as_('line'),
            line.account.as_('account'),
            line.party.as_('party'),
            Coalesce(line.second_currency, company.currency).as_('currency'),
            line.reconciliation.as_('reconciliation'),
            Coalesce(line.maturity_date, instalment.due_date).as_('date'),
            Case((portion.nature == 'principal', 1), else_=0).as_('rank'),
            _exact(portion.amount).as_('amount'),
            where=where))


def _parties(buybacks):
    pool = Pool()
    Instalment = pool.get('prm.buyback.instalment')
    Line = pool.get('account.move.line')
    Portion = pool.get('prm.buyback.instalment.line')
    instalment = Instalment.__table__()
    line = Line.__table__()
    portion = Portion.__table__()
    return (portion
        .join(instalment, condition=portion.instalment == instalment.id)
        .join(line, condition=portion.line == line.id)
        .select(line.party,
            where=fields.SQL_OPERATORS['in'](
                instalment.buyback, list(map(int, buybacks)))))


def _entries(due, own):
    "Return the SQL query of what is entered against the dues"
    pool = Pool()
    Account = pool.get('account.account')
    Company = pool.get('company.company')
    InvoicePayment = pool.get('account.invoice-account.move.line')
    Journal = pool.get('account.journal')
    Line = pool.get('account.move.line')
    Move = pool.get('account.move')
    account = Account.__table__()
    company = Company.__table__()
    invoice_payment = InvoicePayment.__table__()
    journal = Journal.__table__()
    line = Line.__table__()
    move = Move.__table__()

    channel = _select(due, *_CHANNEL, 'company_currency',
        group_by=[due.account, due.party, due.currency, due.company_currency])
    group = due.select(
        due.account, due.party, due.currency, due.reconciliation,
        where=due.reconciliation != Null,
        group_by=[due.account, due.party, due.currency, due.reconciliation])
    in_due = due.select(due.line)
    waiver = own.select(
        own.move, own.buyback,
        where=own.kind.in_(['waiver', 'termination']))
    category = Case(
        (waiver.move != Null, 'waiver'),
        (move.id.in_(own.select(own.move)), 'own'),
        (journal.type == 'write-off', 'waiver'),
        else_='payment')
    local = channel.currency == channel.company_currency
    amount = _exact(Case(
            (local, line.debit - line.credit),
            else_=line.amount_second_currency))

    # Another debt of the party: what is reconciled with it pays it
    debt = Line.__table__()
    debt_move = Move.__table__()
    is_debt = Exists(debt
        .join(debt_move, condition=debt.move == debt_move.id)
        .select(debt.id,
            where=(debt.reconciliation == line.reconciliation)
            & (debt.maturity_date != Null)
            & ~debt_move.id.in_(own.select(own.move))))

    linked, link = Literal(False), Null
    payment_join = None
    try:
        Payment = pool.get('account.payment')
    except KeyError:
        pass
    else:
        payment = Payment.__table__()
        payment_join = (payment, move.origin == sql_reference(
                'account.payment', payment.id))
        linked = payment.line != Null
        link = payment.line

    kind = Case(
        (group.reconciliation != Null, 'closed'),
        (line.reconciliation != Null, 'dead'),
        (waiver.move != Null, 'owned'),
        (linked, 'linked'),
        else_='open')
    query = (line
        .join(move, condition=line.move == move.id)
        .join(journal, condition=move.journal == journal.id)
        .join(account, condition=line.account == account.id)
        .join(company, condition=account.company == company.id)
        .join(waiver, 'LEFT', condition=waiver.move == move.id)
        .join(channel, condition=(
                (line.account == channel.account)
                & (line.party == channel.party)))
        .join(group, 'LEFT', condition=(
                _same(channel, group, _CHANNEL)
                & (line.reconciliation == group.reconciliation))))
    if payment_join:
        query = query.join(
            payment_join[0], 'LEFT', condition=payment_join[1])
    return query.select(
        line.id.as_('line'),
        channel.account.as_('account'),
        channel.party.as_('party'),
        channel.currency.as_('currency'),
        (channel.currency == channel.company_currency).as_('local'),
        company.currency.as_('company_currency'),
        kind.as_('kind'),
        Case(
            (kind == 'linked', link),
            (kind == 'owned', waiver.buyback),
            (kind == 'open', 0),
            else_=line.reconciliation).as_('grp'),
        move.date.as_('date'),
        (move.state == 'posted').as_('posted'),
        category.as_('category'),
        Case((category == 'payment', 0), else_=1).as_('rank'),
        amount.as_('amount'),
        (line.debit - line.credit).as_('company_amount'),
        where=((move.state == 'posted') | (line.reconciliation != Null))
        & ~line.id.in_(in_due)
        & ((line.second_currency == channel.currency)
            | (local
                & ((line.second_currency == Null)
                    | (group.reconciliation != Null))))
        & ((line.debit - line.credit > 0)
            | ((category == 'payment') & (line.maturity_date == Null)))
        & ((group.reconciliation != Null)
            | (~is_debt
                & ~line.id.in_(
                    invoice_payment.select(invoice_payment.line)))))


def _positions(entry):
    "Return the SQL query of the entries with their start on the scale"
    group = [
        entry.account, entry.party, entry.currency, entry.kind, entry.grp]
    by_group = Window(
        group, order_by=[entry.rank.asc, entry.date.asc, entry.line.asc])
    by_date = Window(
        [entry.account, entry.party, entry.currency],
        order_by=[entry.date.asc, entry.line.asc])
    paid = Case((entry.category == 'payment', entry.amount), else_=0)
    names = [
        'line', *_CHANNEL, 'local', 'company_currency', 'kind', 'grp', 'date',
        'posted', 'category', 'amount', 'company_amount']
    running = entry.select(
        *[getattr(entry, n).as_(n) for n in names],
        Sum(entry.amount, window=by_group).as_('end'),
        (Sum(paid, window=by_date) - paid).as_('former'))
    base = Case(
        (running.kind == 'dead', Min(running.former, window=Window(
                    [running.account, running.party, running.currency,
                        running.kind, running.grp]))),
        else_=0)
    return running.select(
        *[getattr(running, n).as_(n) for n in names],
        (base + running.end - running.amount).as_('start'))


def _scales(due, entry):
    "Return the SQL query of the dues with their place on each scale"
    order = [due.date.asc, due.rank.asc, due.due.asc]
    channel = [due.account, due.party, due.currency]
    names = ['due', 'nature', 'instalment', 'buyback', 'company', *_CHANNEL]

    last = [due.date.desc, due.rank.desc, due.due.desc]

    def scale(kind, group, partition, where=None, order=order):
        amount = due.amount
        window = Window(channel + partition, order_by=order)
        return due.select(
            *[getattr(due, n).as_(n) for n in names],
            Literal(kind).as_('kind'),
            group.as_('grp'),
            (Sum(amount, window=window) - amount).as_('start'),
            amount.as_('amount'),
            where=where)

    moved = entry.select(
        entry.grp,
        where=(entry.kind == 'closed') & (entry.category == 'own'))
    closed = scale(
        'closed', due.reconciliation, [due.reconciliation],
        due.reconciliation != Null)
    linked = scale('linked', due.line, [due.line])
    owned = scale(
        'owned', due.buyback, [due.buyback],
        due.reconciliation == Null, order=last)
    dead = scale(
        'dead', Literal(0), [],
        (due.reconciliation == Null) | ~due.reconciliation.in_(moved))

    # What is paid by link or waived is no more to pay by date
    link = entry.select(
        entry.grp.as_('line'), Sum(entry.amount).as_('amount'),
        where=entry.kind == 'linked', group_by=[entry.grp])
    waiver_group = [entry.account, entry.party, entry.currency, entry.grp]
    waiver = entry.select(
        entry.account.as_('account'), entry.party.as_('party'),
        entry.currency.as_('currency'), entry.grp.as_('buyback'),
        Sum(entry.amount).as_('amount'),
        where=entry.kind == 'owned', group_by=waiver_group)
    due_open = (due
        .join(link, 'LEFT', condition=due.line == link.line)
        .join(waiver, 'LEFT',
            condition=_same(due, waiver, [*_CHANNEL, 'buyback']))
        .select(
            *[getattr(due, n).as_(n) for n in names],
            due.date.as_('date'), due.rank.as_('rank'),
            due.amount.as_('amount'),
            (Sum(due.amount, window=Window([due.line], order_by=order))
                - Coalesce(link.amount, 0)).as_('unlinked'),
            (Sum(due.amount, window=Window(
                        channel + [due.buyback], order_by=last))
                - Coalesce(waiver.amount, 0)).as_('unwaived'),
            where=due.reconciliation == Null))
    unlinked = Greatest(0, Least(due_open.amount, due_open.unlinked))
    unwaived = Greatest(0, Least(due_open.amount, due_open.unwaived))
    rest = Greatest(0, unlinked + unwaived - due_open.amount)
    window = Window(
        [due_open.account, due_open.party, due_open.currency],
        order_by=[
            due_open.date.asc, due_open.rank.asc, due_open.due.asc])
    open_ = due_open.select(
        *[getattr(due_open, n).as_(n) for n in names],
        Literal('open').as_('kind'),
        Literal(0).as_('grp'),
        (Sum(rest, window=window) - rest).as_('start'),
        rest.as_('amount'))
    return Union(closed, linked, owned, dead, open_, all_=True)


def allocation_query(buybacks=None):
    """Return the SQL query of what each entry pays of each due

    The columns are company, buyback, instalment, due, nature, line, date,
    posted, category (payment, own or waiver), kind (see above), amount in
    the currency of the buyback and company_amount in the one of the company
    at the rate of the entry.
    A payment taken back is negative at the date it is taken back.

    Limited to the parties of the buybacks if given.
    """
    pool = Pool()
    BuybackMove = pool.get('prm.buyback-account.move')
    Currency = pool.get('currency.currency')
    buyback_move = BuybackMove.__table__()
    currency = Currency.__table__()

    due = With(query=dues_query(buybacks))
    own = With(query=buyback_move.select(
            buyback_move.move.as_('move'), buyback_move.kind.as_('kind'),
            buyback_move.buyback.as_('buyback')))
    entry = With(query=_entries(due, own))
    position = _positions(entry)
    scale = _scales(due, entry)

    entry_start = Least(position.start, position.start + position.amount)
    entry_end = Greatest(position.start, position.start + position.amount)
    start = Greatest(entry_start, scale.start)
    end = Least(entry_end, scale.start + scale.amount)
    size = Abs(position.amount)

    def converted(value):
        "What the entry is worth up to a place on the scale"
        return Round(
            position.company_amount * (value - entry_start)
            / (size * 1.0 if backend.name == 'sqlite' else size),
            currency.digits)

    sign = Case((position.amount < 0, -1), else_=1)
    query = (position
        .join(scale, condition=_same(
                position, scale, [*_CHANNEL, 'kind'])
            & ((position.grp == scale.grp) | (position.kind == 'dead')))
        .join(currency,
            condition=position.company_currency == currency.id))
    return query.select(
        scale.company.as_('company'),
        scale.buyback.as_('buyback'),
        scale.instalment.as_('instalment'),
        scale.due.as_('due'),
        scale.nature.as_('nature'),
        position.line.as_('line'),
        position.date.as_('date'),
        position.posted.as_('posted'),
        position.category.as_('category'),
        position.kind.as_('kind'),
        _amount((end - start) * sign).as_('amount'),
        Case(
            (position.local, _amount((end - start) * sign)),
            else_=converted(end) - converted(start)).as_('company_amount'),
        where=end > start,
        with_=[due, own, entry])
