# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql import Cast, Literal, Union
from sql.operators import Concat

from trytond.model import ModelSQL, ModelView, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool

from ..model import AmountsMixin, ReadonlyMixin
from ..tools import sql_sum
from .consolidation import converted_query

# The first identifier of the differences of drafts, beyond any record
_BASE = 2 ** 31


class _Difference(AmountsMixin, ModelSQL, ModelView):
    "What makes a figure differ from the ledger."

    review = fields.Many2One(
        'prm.review', "Review", required=True, ondelete='CASCADE')
    kind = fields.Selection([
            ('concession', "Net Revenue"),
            ('invoice', "Actual"),
            ], "Figure", required=True, sort=False,
        help="The figure that differs from the ledger revenue.")
    origin = fields.Reference(
        "Origin", selection='get_origin', required=True,
        help="The document that makes the difference.")
    ledger_amount = Monetary(
        "Ledger", currency='currency', digits='currency',
        help="What the document brings to the ledger revenue of the period.")
    figure_amount = Monetary(
        "Figure", currency='currency', digits='currency',
        help="What the document brings to the figure of the period.")
    amount = Monetary(
        "Difference", currency='currency', digits='currency',
        help="The figure less the ledger.")
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"),
        'on_change_with_currency')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('review')
        cls._order = [
            ('review', 'DESC'), ('kind', 'ASC'), ('id', 'ASC')]

    @classmethod
    def get_origin(cls):
        Model = Pool().get('ir.model')
        return [
            (m, Model.get_name(m)) for m in ['account.move', 'prm.concession']]

    @fields.depends('review', '_parent_review.currency')
    def on_change_with_currency(self, name=None):
        return self.review.currency if self.review else None

    def get_rec_name(self, name):
        return self.origin.rec_name


class Difference(_Difference):
    __name__ = 'prm.review.difference'
    __string__ = "Difference of Review"

    @classmethod
    def table_query(cls):
        pool = Pool()
        Closed = pool.get('prm.review.difference.closed')
        closed = Closed.__table__()
        return Union(
            cls._select('concession', 0, 'prm.concession', cls._concession()),
            cls._select('invoice', 1, 'account.move', cls._invoice()),
            closed.select(
                Cast(closed.id, 'BIGINT').as_('id'), closed.review,
                closed.kind, closed.origin, closed.ledger_amount,
                closed.figure_amount, closed.amount),
            all_=True)

    @classmethod
    def _select(cls, kind, index, model, items):
        """Return the differences of the reviews in draft

        The items have company, date, ledger, figure and origin.
        """
        Review = Pool().get('prm.review')
        review = Review.__table__()
        items = converted_query(items, ['ledger', 'figure'])
        ledger = sql_sum(items.ledger)
        figure = sql_sum(items.figure)
        amount = sql_sum(items.figure - items.ledger)
        return (review
            .join(items,
                condition=(items.review == review.id)
                & (items.date >= review.start_date)
                & (items.date <= review.end_date))
            .select(
                Cast(
                    (Cast(review.id, 'BIGINT') * 2 + index) * _BASE
                    + items.origin, 'BIGINT').as_('id'),
                review.id.as_('review'),
                Cast(Literal(kind), 'VARCHAR').as_('kind'),
                Concat(f'{model},', Cast(items.origin, 'VARCHAR')
                    ).as_('origin'),
                cls.ledger_amount.sql_cast(ledger).as_('ledger_amount'),
                cls.figure_amount.sql_cast(figure).as_('figure_amount'),
                cls.amount.sql_cast(amount).as_('amount'),
                where=review.state == 'draft',
                group_by=[review.id, items.origin],
                having=amount != 0))

    @classmethod
    def _concession(cls):
        "Return the query of what gestures take off the ledger and the figure"
        Concession = Pool().get('prm.concession')
        booked = Concession.booked_query()
        imputed = Concession.imputed_query()
        return Union(
            booked.select(
                booked.company, booked.date,
                booked.concession.as_('origin'),
                (-booked.amount).as_('ledger'), Literal(0).as_('figure')),
            imputed.select(
                imputed.company, imputed.date,
                imputed.concession.as_('origin'),
                Literal(0).as_('ledger'), (-imputed.amount).as_('figure')),
            all_=True)

    @classmethod
    def _invoice(cls):
        "Return the query of what moves bring to the ledger and the actual"
        pool = Pool()
        Invoice = pool.get('account.invoice')
        Month = pool.get('prm.review.month')
        Performance = pool.get('prm.performance')
        actual = Performance.actual_query()
        invoice = Invoice.__table__()
        ledger = Month.ledger_query()
        return Union(
            ledger.select(
                ledger.company, ledger.date, ledger.move.as_('origin'),
                ledger.amount.as_('ledger'), Literal(0).as_('figure')),
            actual
            .join(invoice, condition=actual.invoice == invoice.id)
            .select(
                actual.company, actual.date, invoice.move.as_('origin'),
                Literal(0).as_('ledger'), actual.amount.as_('figure')),
            all_=True)


class ClosedDifference(ReadonlyMixin, _Difference):
    "The differences as they were when the review was closed."
    __name__ = 'prm.review.difference.closed'
    __string__ = "Closed Difference of Review"
