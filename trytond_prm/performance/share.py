# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import defaultdict
from decimal import Decimal

from trytond.i18n import gettext
from trytond.model import Index, ModelSQL, ModelView, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval, If

from .exceptions import RevenueShareError


class RevenueShare(ModelSQL, ModelView):
    __name__ = 'prm.revenue.share'
    __string__ = "Revenue Share"

    partner = fields.Many2One(
        'prm.partner', "Partner", required=True, ondelete='CASCADE')
    company = fields.Function(
        fields.Many2One('company.company', "Company"),
        'on_change_with_company', searcher='search_company')
    employee = fields.Many2One(
        'company.employee', "Employee", required=True, ondelete='RESTRICT',
        domain=[('company', '=', Eval('company', -1))],
        help="Who gets a part of the revenue of the partner.")
    percentage = fields.Numeric(
        "Percentage", digits=(1, 4), required=True,
        domain=[('percentage', '>', 0), ('percentage', '<=', 1)],
        help="The part of the revenue that the employee gets; the manager of "
        "the partner, or the employee of the sale, keeps what remains.")
    start_date = fields.Date(
        "Start Date", required=True,
        help="The invoice date from which the revenue is shared.")
    end_date = fields.Date(
        "End Date",
        domain=[
            If(Eval('end_date') & Eval('start_date'),
                ('end_date', '>=', Eval('start_date')),
                ()),
            ],
        help="The last invoice date of which the revenue is shared.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls.__access__.add('partner')
        cls._sql_indexes.add(
            Index(
                t,
                (t.partner, Index.Range()),
                (t.start_date, Index.Range(order='DESC'))))
        cls._order = [
            ('partner', 'ASC'), ('start_date', 'DESC'), ('id', 'DESC')]

    @classmethod
    def default_start_date(cls):
        return Pool().get('ir.date').today()

    @fields.depends('partner', '_parent_partner.company')
    def on_change_with_company(self, name=None):
        return self.partner.company if self.partner else None

    @classmethod
    def search_company(cls, name, clause):
        return [('partner.' + clause[0], *clause[1:])]

    def get_rec_name(self, name):
        return f'{self.employee.rec_name} @ {self.partner.rec_name}'

    @classmethod
    def search_rec_name(cls, name, clause):
        _, operator, *_ = clause
        bool_op = 'AND' if operator.startswith('!') or (
            operator.startswith('not ')) else 'OR'
        return [bool_op,
            ('employee.rec_name', *clause[1:]),
            ('partner.rec_name', *clause[1:]),
            ]

    @classmethod
    def validate_fields(cls, shares, field_names):
        super().validate_fields(shares, field_names)
        cls.check_total(shares, field_names)

    @classmethod
    def check_total(cls, shares, field_names=None):
        "Refuse that the shares of a partner exceed 100 % on any day"
        if field_names is not None and not (
                field_names & {'partner', 'percentage', 'start_date',
                    'end_date'}):
            return
        pool = Pool()
        Lang = pool.get('ir.lang')
        Partner = pool.get('prm.partner')
        partners = {s.partner for s in shares}
        # Two users may add one each
        Partner.lock(partners)
        by_partner = defaultdict(list)
        for share in cls.search([
                    ('partner', 'in', [p.id for p in partners]),
                    ]):
            by_partner[share.partner].append(share)
        for partner, others in by_partner.items():
            # The total only grows when a share starts
            for day in {s.start_date for s in others}:
                total = sum((
                        s.percentage for s in others
                        if s.start_date <= day
                        <= (s.end_date or dt.date.max)), Decimal(0))
                if total > 1:
                    raise RevenueShareError(gettext(
                            'prm.msg_revenue_share_total',
                            partner=partner.rec_name,
                            date=Lang.get().strftime(day),
                            total=(total * 100).normalize()))


class Partner(metaclass=PoolMeta):
    __name__ = 'prm.partner'

    revenue_shares = fields.One2Many(
        'prm.revenue.share', 'partner', "Revenue Shares",
        help="The employees who share the revenue of the partner with its "
        "manager.")

    @classmethod
    def copy(cls, partners, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('revenue_shares', None)
        return super().copy(partners, default=default)
