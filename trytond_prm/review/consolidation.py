# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql import Cast, Literal, Null, Union
from sql.conditionals import Case

from trytond.i18n import gettext
from trytond.model import ModelSQL, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval
from trytond.transaction import Transaction

from ..tools import sql_round
from .exceptions import ReviewRateError
from .month import POPULATIONS

# The months and the costs of each review have the same ids
Transaction.cache_keys.add('prm_review')
# What is counted and not an amount
COUNTS = [*POPULATIONS, 'lost']


def converted_query(items, names, where=None):
    """Return the SQL query of the items of the companies of each review

    The items have at least company and date; the names, in the currency of
    the company, are amounts unless the measure is among COUNTS.
    The columns are review and those of the items but the company. The
    amounts are in the currency of the review, converted at the rate of their
    date and rounded one by one: the sums agree whatever they group.
    where is a function of the column of the review.
    """
    pool = Pool()
    Company = pool.get('company.company')
    Currency = pool.get('currency.currency')
    Member = pool.get('prm.review-company.company')
    Review = pool.get('prm.review')
    first = items.queries[0] if isinstance(items, Union) else items
    columns = [
        c for c in map(_name, first.columns) if c not in {'company', *names}]

    def select(from_, review, values, condition=None):
        query = from_.select(
            review.id.as_('review'),
            *(getattr(items, n).as_(n) for n in columns),
            *(v.as_(n) for n, v in zip(names, values)))
        query.where = where(review.id) if where else None
        if condition is not None:
            query.where = (
                query.where & condition if query.where else condition)
        return query

    amounts = [getattr(items, n) for n in names]
    review = Review.__table__()
    queries = [select(
            review.join(items, condition=items.company == review.company),
            review, amounts)]
    member = Member.__table__()
    cursor = Transaction().connection.cursor()
    cursor.execute(*member.select(
            member.id, where=where(member.review) if where else None,
            limit=1))
    if not cursor.fetchone():
        return queries[0]
    for same in [True, False]:
        company = Company.__table__()
        member = Member.__table__()
        review = Review.__table__()
        target = Company.__table__()
        from_ = (review
            .join(member, condition=member.review == review.id)
            .join(company, condition=member.company == company.id)
            .join(target, condition=review.company == target.id)
            .join(items, condition=items.company == member.company))
        if same:
            queries.append(select(
                    from_, review, amounts,
                    company.currency == target.currency))
            continue
        currency = Currency.__table__()
        rates = []
        for table in [company, target]:
            rate = Currency.currency_rate_sql()
            from_ = from_.join(rate,
                condition=(rate.currency == table.currency)
                & (rate.start_date <= items.date)
                & ((rate.end_date == Null) | (rate.end_date > items.date)))
            rates.append(rate.rate)
        from_ = from_.join(
            currency, condition=target.currency == currency.id)
        source, converted = rates
        values = [
            sql_round(a * converted / source, currency.rounding)
            for a in amounts]
        if 'measure' in columns:
            values = [
                Case((items.measure.in_(COUNTS), a), else_=v)
                for a, v in zip(amounts, values)]
        queries.append(select(
                from_, review, values, company.currency != target.currency))
    return Union(*queries, all_=True)


def _name(column):
    return getattr(column, 'output_name', None) or column.name


class Review(metaclass=PoolMeta):
    __name__ = 'prm.review'

    companies = fields.Many2Many(
        'prm.review-company.company', 'review', 'company',
        "Consolidated Companies",
        domain=[
            ('id', '!=', Eval('company', -1)),
            ],
        states={
            'readonly': Eval('state') != 'draft',
            },
        help="The companies that the review adds to its own.\n"
        "Each amount is converted in the currency of the review at the rate "
        "of its date.")

    @property
    def all_companies(self):
        return [self.company, *self.companies]

    @classmethod
    def consolidated(cls, review, items, name='value'):
        """Return the items of the companies of the review id and its company

        The items are those of converted_query, the name is the one of their
        amount and the company is a SQL expression.
        There is none for those who may not read the review.
        """
        reviews = cls.search([('id', '=', review)])
        items = converted_query(
            items, [name], lambda column: fields.SQL_OPERATORS['in'](
                column, [r.id for r in reviews]))
        company = reviews[0].company.id if reviews else -1
        return items, Cast(Literal(company), 'INTEGER')

    @classmethod
    def validate_fields(cls, reviews, field_names):
        super().validate_fields(reviews, field_names)
        cls._check_rates(reviews, field_names)

    @classmethod
    def _check_rates(cls, reviews, field_names):
        "Check that each amount of the reviews can be converted"
        pool = Pool()
        Lang = pool.get('ir.lang')
        Rate = pool.get('currency.currency.rate')
        if field_names and not field_names & {
                'companies', 'company', 'start_date', 'compare_start_date'}:
            return
        for review in reviews:
            currencies = {c.currency for c in review.all_companies}
            if len(currencies) == 1:
                continue
            date = min(filter(
                    None, [review.start_date, review.compare_start_date]))
            rates = {r.currency for r in Rate.search([
                        ('currency', 'in', [c.id for c in currencies]),
                        ('date', '<=', date),
                        ])}
            for currency in currencies - rates:
                raise ReviewRateError(gettext(
                        'prm.msg_review_no_rate',
                        review=review.rec_name,
                        currency=currency.rec_name,
                        date=Lang.get().strftime(date)))

    def convert(self, amount, company, date):
        "Return the amount of the company in the currency of the review"
        Currency = Pool().get('currency.currency')
        if amount is None or company.currency == self.currency:
            return amount
        with Transaction().set_context(date=date):
            return Currency.compute(company.currency, amount, self.currency)


class ReviewCompany(ModelSQL):
    __name__ = 'prm.review-company.company'
    __string__ = "Consolidated Company of Review"

    review = fields.Many2One(
        'prm.review', "Review", required=True, ondelete='CASCADE')
    company = fields.Many2One(
        'company.company', "Company", required=True, ondelete='CASCADE')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('review')
