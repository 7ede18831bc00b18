# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from decimal import Decimal

from dateutil.relativedelta import relativedelta
from sql import Literal, Null
from sql.operators import Exists

from trytond.i18n import gettext
from trytond.model import Index, ModelSQL, ModelView, Unique, Workflow, fields
from trytond.modules.company.model import employee_field, set_employee
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Bool, Eval, If
from trytond.tools import grouped_slice
from trytond.transaction import Transaction

from ..model import WorkflowAccessMixin
from ..tools import sql_invoiced, sql_local_date, sql_sum
from .exceptions import (
    ExposureAccessError, ExposureError, ExposureValidationError)

_SIZE = 1000


class Separation(metaclass=PoolMeta):
    __name__ = 'prm.separation'

    employee = fields.Many2One(
        'company.employee', "Employee", ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        help="The associate as an employee, whose partners and customers "
        "are handed over.")
    exposure_start = fields.Date(
        "Exposure from",
        domain=[
            If(Bool(Eval('exposure_start')) & Bool(Eval('exposure_end')),
                ('exposure_start', '<=', Eval('exposure_end', None)),
                ()),
            ],
        help="The first day of the revenue that is exposed.")
    exposure_end = fields.Date(
        "Exposure to",
        help="The last day of the revenue that is exposed.")
    exposures = fields.One2Many(
        'prm.separation.exposure', 'separation', "Exposures",
        help="The partners and customers of the associate "
        "and their handover.")
    currency = fields.Function(fields.Many2One(
            'currency.currency', "Currency"), 'on_change_with_currency')
    exposure_amount = fields.Function(Monetary(
            "Exposure", currency='currency', digits='currency',
            help="The revenue of the partners and customers of the "
            "associate."),
        'get_exposure')
    exposure_open = fields.Function(Monetary(
            "Exposure not yet Handled", currency='currency',
            digits='currency',
            help="The part of the exposure whose handover is not accepted."),
        'get_exposure')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._buttons.update({
                'compute_exposure': {
                    'depends': [],
                    },
                })

    @fields.depends('company', 'party', 'employee')
    def on_change_party(self):
        pool = Pool()
        Employee = pool.get('company.employee')
        if self.company and self.party and not self.employee:
            employees = Employee.search([
                    ('company', '=', self.company.id),
                    ('party', '=', self.party.id),
                    ], limit=1)
            if employees:
                self.employee, = employees

    @fields.depends('company')
    def on_change_with_currency(self, name=None):
        return self.company.currency if self.company else None

    @classmethod
    def get_exposure(cls, separations, names):
        pool = Pool()
        Exposure = pool.get('prm.separation.exposure')
        amounts = {
            n: dict.fromkeys(map(int, separations), Decimal(0))
            for n in names}
        for row in Exposure._revenues(
                lambda e: (e.separation, [s.id for s in separations])):
            _, separation_id, state, amount = row
            if 'exposure_amount' in names:
                amounts['exposure_amount'][separation_id] += amount
            if 'exposure_open' in names and state != 'accepted':
                amounts['exposure_open'][separation_id] += amount
        return amounts

    @classmethod
    def copy(cls, separations, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('exposures')
        default.setdefault('exposure_start')
        default.setdefault('exposure_end')
        return super().copy(separations, default=default)

    def _set_exposure_period(self):
        """Set the twelve months that end with the announcement

        Without announcement they end with the first milestone or else today.
        """
        Date = Pool().get('ir.date')
        if not self.exposure_end:
            dates = [m.date for m in self.milestones
                if m.kind == 'announcement']
            with Transaction().set_context(company=self.company.id):
                self.exposure_end = (
                    dates[0] if dates else self.start_date or Date.today())
        if not self.exposure_start:
            self.exposure_start = (
                self.exposure_end + relativedelta(years=-1)
                + dt.timedelta(days=1))

    @classmethod
    @ModelView.button
    def compute_exposure(cls, separations):
        """Add the partners and customers of the employee to the exposures

        They are the parties of the partners that the employee managed in the
        period, and the customers invoiced in the period that had a done
        interaction with the employee.
        """
        pool = Pool()
        Exposure = pool.get('prm.separation.exposure')
        for separation in separations:
            if not separation.employee:
                raise ExposureError(
                    gettext('prm.msg_separation_exposure_employee',
                        separation=separation.rec_name))
            separation._set_exposure_period()
        cls.save(separations)
        cursor = Transaction().connection.cursor()
        known = {(e.separation.id, e.party.id)
            for s in separations for e in s.exposures}
        pairs = set()
        for query in cls._exposed_queries([s.id for s in separations]):
            cursor.execute(*query)
            pairs.update(map(tuple, cursor))
        Exposure.create([{
                    'separation': separation,
                    'party': party,
                    } for separation, party in sorted(pairs - known)])

    @classmethod
    def _exposed_queries(cls, ids):
        "Return the SQL queries of separation and exposed party"
        pool = Pool()
        Company = pool.get('company.company')
        Interaction = pool.get('prm.interaction')
        Invoice = pool.get('account.invoice')
        Manager = pool.get('prm.partner.manager')
        Partner = pool.get('prm.partner')
        company = Company.__table__()
        interaction = Interaction.__table__()
        invoice = Invoice.__table__()
        manager = Manager.__table__()
        partner = Partner.__table__()
        queries = []
        table = cls.__table__()
        queries.append(table
            .join(manager, condition=manager.employee == table.employee)
            .join(partner, condition=(manager.partner == partner.id)
                & (partner.company == table.company))
            .select(
                table.id, partner.party,
                where=fields.SQL_OPERATORS['in'](table.id, ids)
                & (manager.start_date <= table.exposure_end)
                & ((manager.end_date == Null)
                    | (manager.end_date >= table.exposure_start)),
                group_by=[table.id, partner.party]))
        table = cls.__table__()
        date = sql_local_date(interaction.date, company.timezone)
        queries.append(table
            .join(company, condition=table.company == company.id)
            .join(interaction,
                condition=(interaction.employee == table.employee)
                & (interaction.company == table.company))
            .select(
                table.id, interaction.party,
                where=fields.SQL_OPERATORS['in'](table.id, ids)
                & (interaction.state == 'done')
                & (date >= table.exposure_start)
                & (date <= table.exposure_end)
                & Exists(invoice.select(
                        Literal(1),
                        where=(invoice.party == interaction.party)
                        & (invoice.company == table.company)
                        & sql_invoiced(invoice)
                        & (invoice.invoice_date >= table.exposure_start)
                        & (invoice.invoice_date <= table.exposure_end))),
                group_by=[table.id, interaction.party]))
        return queries


class SeparationExposure(
        WorkflowAccessMixin, Workflow, ModelSQL, ModelView):
    __name__ = 'prm.separation.exposure'
    __string__ = "Separation Exposure"

    _states = {
        'readonly': Eval('state') == 'accepted',
        }

    separation = fields.Many2One(
        'prm.separation', "Separation", required=True, ondelete='CASCADE',
        states={
            'readonly': Eval('id', -1) >= 0,
            })
    company = fields.Function(fields.Many2One(
            'company.company', "Company"), 'on_change_with_company')
    currency = fields.Function(fields.Many2One(
            'currency.currency', "Currency"), 'on_change_with_currency')
    party = fields.Many2One(
        'party.party', "Party", required=True, ondelete='RESTRICT',
        states=_states,
        context={
            'company': Eval('company', -1),
            },
        depends={'company'},
        help="The partner or customer of the associate.")
    partner = fields.Function(fields.Boolean(
            "Partner",
            help="Checked when the party is a partner of the company."),
        'get_partner')
    revenue = fields.Function(Monetary(
            "Revenue", currency='currency', digits='currency',
            help="The amount of the posted customer invoices less the "
            "credit notes of the period of exposure, untaxed."),
        'get_revenue')
    successor = fields.Many2One(
        'company.employee', "Successor", ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        states={
            'readonly': _states['readonly'],
            'required': ~Eval('state').in_(['open']),
            },
        help="The employee to whom the party is handed over.")
    introduced_date = fields.Date("Introduced on", states=_states)
    introduced_by = employee_field("Introduced by", states=['accepted'])
    co_visited_date = fields.Date(
        "Co-visited on", states=_states,
        domain=[
            If(Bool(Eval('co_visited_date')) & Bool(Eval('introduced_date')),
                ('co_visited_date', '>=', Eval('introduced_date', None)),
                ()),
            ])
    co_visited_by = employee_field("Co-visited by", states=['accepted'])
    accepted_date = fields.Date(
        "Accepted on", states=_states,
        domain=[
            If(Bool(Eval('accepted_date')) & Bool(Eval('introduced_date')),
                ('accepted_date', '>=', Eval('introduced_date', None)),
                ()),
            If(Bool(Eval('accepted_date')) & Bool(Eval('co_visited_date')),
                ('accepted_date', '>=', Eval('co_visited_date', None)),
                ()),
            ])
    accepted_by = employee_field("Accepted by", states=['accepted'])
    note = fields.Char("Note")
    state = fields.Selection([
            ('open', "Open"),
            ('introduced', "Introduced"),
            ('co_visited', "Co-visited"),
            ('accepted', "Accepted"),
            ], "State", readonly=True, required=True, sort=False)

    del _states

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('separation')
        table = cls.__table__()
        cls._sql_constraints += [
            ('separation_party_unique',
                Unique(table, table.separation, table.party),
                'prm.msg_separation_exposure_party_unique'),
            ]
        cls._sql_indexes.add(
            Index(table, (table.party, Index.Equality())))
        cls._order = [
            ('separation', 'DESC'),
            ('id', 'ASC'),
            ]
        cls._transitions |= {
            ('open', 'introduced'),
            ('introduced', 'co_visited'),
            ('introduced', 'accepted'),
            ('co_visited', 'accepted'),
            ('introduced', 'open'),
            ('co_visited', 'open'),
            ('accepted', 'open'),
            }
        cls._buttons.update({
                'introduce': {
                    'invisible': Eval('state') != 'open',
                    'readonly': ~Eval('successor'),
                    'depends': ['state', 'successor'],
                    },
                'co_visit': {
                    'invisible': Eval('state') != 'introduced',
                    'depends': ['state'],
                    },
                'accept': {
                    'invisible': ~Eval('state').in_(
                        ['introduced', 'co_visited']),
                    'depends': ['state'],
                    },
                'reopen': {
                    'invisible': Eval('state') == 'open',
                    'depends': ['state'],
                    },
                })

    @classmethod
    def default_state(cls):
        return 'open'

    @fields.depends('separation', '_parent_separation.company')
    def on_change_with_company(self, name=None):
        return self.separation.company if self.separation else None

    @fields.depends('separation', '_parent_separation.company')
    def on_change_with_currency(self, name=None):
        if self.separation and self.separation.company:
            return self.separation.company.currency

    @classmethod
    def get_partner(cls, exposures, name):
        pool = Pool()
        Partner = pool.get('prm.partner')
        partners = {(p.company.id, p.party.id) for p in Partner.search([
                    ('party', 'in', list({e.party.id for e in exposures})),
                    ], order=[])}
        return {
            e.id: (e.company.id, e.party.id) in partners for e in exposures}

    @classmethod
    def get_revenue(cls, exposures, name):
        amounts = dict.fromkeys(map(int, exposures), Decimal(0))
        for id_, _, _, amount in cls._revenues(
                lambda e: (e.id, [e.id for e in exposures])):
            amounts[id_] = amount
        return amounts

    @classmethod
    def _revenues(cls, where):
        """Yield the id, separation, state and revenue of the exposures

        The revenue is the credit less the debit of what the lines of the
        posted customer invoices booked in the period of the separation, in
        company currency, by invoice date.
        where is a function of the table that returns a column and the ids.
        """
        pool = Pool()
        Company = pool.get('company.company')
        Currency = pool.get('currency.currency')
        Invoice = pool.get('account.invoice')
        Line = pool.get('account.move.line')
        Separation = pool.get('prm.separation')
        cursor = Transaction().connection.cursor()
        table = cls.__table__()
        company = Company.__table__()
        invoice = Invoice.__table__()
        line = Line.__table__()
        separation = Separation.__table__()
        column, ids = where(table)
        query = (table
            .join(separation, condition=table.separation == separation.id)
            .join(company, condition=separation.company == company.id)
            .join(invoice, condition=(invoice.party == table.party)
                & (invoice.company == separation.company)
                & (invoice.invoice_date >= separation.exposure_start)
                & (invoice.invoice_date <= separation.exposure_end))
            .join(line, condition=line.move == invoice.move))
        currencies = {}
        for sub_ids in grouped_slice(ids, _SIZE):
            cursor.execute(*query.select(
                    table.id, table.separation, table.state,
                    company.currency, sql_sum(line.credit - line.debit),
                    where=fields.SQL_OPERATORS['in'](column, list(sub_ids))
                    & sql_invoiced(invoice)
                    & line.origin.like('account.invoice.line,%'),
                    group_by=[
                        table.id, table.separation, table.state,
                        company.currency]))
            for id_, separation_id, state, currency, amount in (
                    cursor.fetchall()):
                if currency not in currencies:
                    currencies[currency] = Currency(currency)
                yield id_, separation_id, state, currencies[currency].round(
                    Decimal(str(amount)))

    def get_rec_name(self, name):
        return f'{self.separation.rec_name} - {self.party.rec_name}'

    @classmethod
    def search_rec_name(cls, name, clause):
        _, operator, value = clause
        operation = 'AND' if operator.startswith(('!', 'not ')) else 'OR'
        return [operation,
            ('separation.rec_name', operator, value),
            ('party.rec_name', operator, value),
            ]

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree', 'visual',
                If(Eval('state') == 'accepted', 'success',
                    If(Eval('state') == 'open', 'warning', ''))),
            ]

    @classmethod
    def copy(cls, exposures, default=None):
        default = default.copy() if default is not None else {}
        for step in ['introduced', 'co_visited', 'accepted']:
            default.setdefault(f'{step}_date')
            default.setdefault(f'{step}_by')
        return super().copy(exposures, default=default)

    @classmethod
    def check_modification(
            cls, mode, exposures, values=None, external=False):
        super().check_modification(
            mode, exposures, values=values, external=external)
        if mode == 'delete':
            for exposure in exposures:
                if exposure.state != 'open':
                    raise ExposureAccessError(
                        gettext('prm.msg_separation_exposure_delete',
                            exposure=exposure.rec_name))

    @classmethod
    def on_modification(cls, mode, exposures, field_names=None):
        pool = Pool()
        Separation = pool.get('prm.separation')
        super().on_modification(mode, exposures, field_names=field_names)
        if mode == 'create':
            # Without period there would be no revenue
            separations = Separation.browse(list({
                        e.separation for e in exposures
                        if not e.separation.exposure_start
                        or not e.separation.exposure_end}))
            for separation in separations:
                separation._set_exposure_period()
            Separation.save(separations)

    @classmethod
    def validate_fields(cls, exposures, field_names):
        super().validate_fields(exposures, field_names)
        cls.check_successor(exposures, field_names)

    @classmethod
    def check_successor(cls, exposures, field_names=None):
        "Raise when the one who leaves would take over"
        if field_names and not (field_names & {'separation', 'successor'}):
            return
        for exposure in exposures:
            if (exposure.successor
                    and exposure.successor == exposure.separation.employee):
                raise ExposureValidationError(
                    gettext('prm.msg_separation_exposure_successor_leaver',
                        exposure=exposure.rec_name,
                        employee=exposure.successor.rec_name))

    @classmethod
    def _set_date(cls, exposures, name):
        pool = Pool()
        Date = pool.get('ir.date')
        to_write = []
        for company in {e.company for e in exposures}:
            with Transaction().set_context(company=company.id):
                today = Date.today()
            if records := [e for e in exposures
                    if e.company == company and not getattr(e, name)]:
                to_write.extend([records, {name: today}])
        if to_write:
            cls.write(*to_write)

    @classmethod
    @ModelView.button
    @Workflow.transition('introduced')
    @set_employee('introduced_by')
    def introduce(cls, exposures):
        for exposure in exposures:
            if not exposure.successor:
                raise ExposureError(
                    gettext('prm.msg_separation_exposure_successor',
                        exposure=exposure.rec_name))
        cls._set_date(exposures, 'introduced_date')

    @classmethod
    @ModelView.button
    @Workflow.transition('co_visited')
    @set_employee('co_visited_by')
    def co_visit(cls, exposures):
        cls._set_date(exposures, 'co_visited_date')

    @classmethod
    @ModelView.button
    @Workflow.transition('accepted')
    @set_employee('accepted_by')
    def accept(cls, exposures):
        cls._set_date(exposures, 'accepted_date')

    @classmethod
    @ModelView.button
    @Workflow.transition('open')
    def reopen(cls, exposures):
        "Start the handover again"
        cls.write(exposures, {
                f'{step}_{name}': None
                for step in ['introduced', 'co_visited', 'accepted']
                for name in ['date', 'by']})
