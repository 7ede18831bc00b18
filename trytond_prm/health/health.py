# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import defaultdict
from decimal import Decimal

from trytond.i18n import gettext
from trytond.model import Index, ModelSQL, ModelView, Unique, fields
from trytond.pool import Pool
from trytond.pyson import Eval, If
from trytond.tools import grouped_slice
from trytond.transaction import Transaction, without_check_access

from .exceptions import HealthAccessError

_SIZE = 10_000  # values of an IN that every database accepts
_CENT = Decimal('0.01')


class PartnerHealth(ModelSQL, ModelView):
    __name__ = 'prm.partner.health'
    __string__ = "Health of Partner"

    partner = fields.Many2One(
        'prm.partner', "Partner", required=True, readonly=True,
        ondelete='CASCADE')
    date = fields.Date("Date", required=True, readonly=True)
    score = fields.Numeric(
        "Score", digits=(None, 2), required=True, readonly=True,
        help="The sum of the contributions of the metrics, from 0 to 100.")
    change = fields.Numeric(
        "Change", digits=(None, 2), readonly=True,
        help="The difference from the score before.")
    lines = fields.One2Many(
        'prm.partner.health.line', 'health', "Contributions", readonly=True,
        help="How the score came about.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('partner')
        t = cls.__table__()
        cls._order = [
            ('date', 'DESC'),
            ('id', 'DESC'),
            ]
        cls._sql_constraints += [
            ('date_unique', Unique(t, t.partner, t.date),
                'prm.msg_partner_health_unique'),
            ]
        cls._sql_indexes.add(Index(t,
                (t.partner, Index.Range()),
                (t.date, Index.Range(order='DESC'))))

    def get_rec_name(self, name):
        pool = Pool()
        Lang = pool.get('ir.lang')
        lang = Lang.get()
        return (f'{self.partner.rec_name} @ {lang.strftime(self.date)}: '
            f'{lang.format_number(self.score, 2)}')

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('partner.rec_name', *clause[1:])]

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree', 'visual', If(Eval('change', 0) < 0, 'warning', '')),
            ]

    @classmethod
    def check_modification(cls, mode, healths, values=None, external=False):
        super().check_modification(
            mode, healths, values=values, external=external)
        if mode in {'write', 'delete'} and external:
            raise HealthAccessError(gettext(
                    'prm.msg_partner_health_modify',
                    health=healths[0].rec_name))

    @classmethod
    @without_check_access
    def take(cls, partners, date=None):
        """Take the snapshot of the health of the partners

        It is of today by default and replaces the one of the same day. The
        partners of a company without metric have none. Those whose score
        falls below the threshold of the configuration get a follow-up.
        """
        pool = Pool()
        Date = pool.get('ir.date')
        Metric = pool.get('prm.health.metric')
        Line = pool.get('prm.partner.health.line')
        if date is None:
            date = Date.today()
        metrics = Metric.of_companies({p.company for p in partners})
        by_company = defaultdict(list)
        for partner in partners:
            if partner.company in metrics:
                by_company[partner.company].append(partner)
        partners = [p for ps in by_company.values() for p in ps]
        if not partners:
            return []
        Partner = pool.get('prm.partner')
        Partner.lock(partners)
        to_delete = []
        for sub_partners in grouped_slice(partners, _SIZE):
            to_delete.extend(cls.search([
                        ('partner', 'in', list(map(int, sub_partners))),
                        ('date', '=', date),
                        ]))
        cls.delete(to_delete)
        last = Partner.last_healths(partners, date)

        to_create, details = [], []
        for company, sub_partners in by_company.items():
            values = Metric.measure(metrics[company], sub_partners, date)
            for partner in sub_partners:
                lines = [
                    Line.compute(metric, values[metric][partner.id])
                    for metric in metrics[company]]
                score = sum(l['contribution'] for l in lines)
                before = last.get(partner.id)
                to_create.append({
                        'partner': partner.id,
                        'date': date,
                        'score': score,
                        'change': (
                            score - before if before is not None else None),
                        })
                details.append(lines)
        healths = cls.create(to_create)
        Line.create([
                {'health': health.id, **line}
                for health, lines in zip(healths, details)
                for line in lines])
        cls._open_follow_ups(healths)
        return healths

    @classmethod
    def _open_follow_ups(cls, healths):
        "Plan an interaction with those who fell below the threshold"
        pool = Pool()
        Configuration = pool.get('prm.configuration')
        Interaction = pool.get('prm.interaction')
        configuration = Configuration(1)
        settings = {}
        fallen = []
        for health in healths:
            company = health.partner.company
            if company not in settings:
                settings[company] = tuple(
                    configuration.get_multivalue(n, company=company.id)
                    for n in ['health_threshold', 'health_channel'])
            threshold, channel = settings[company]
            before = health.score - (health.change or 0)
            if (threshold is not None and channel
                    and health.score < threshold
                    and (health.change is None or before >= threshold)):
                fallen.append(health)
        if not fallen:
            return
        followed = set()
        for sub_fallen in grouped_slice(fallen, _SIZE):
            followed.update(
                i.partner.id for i in Interaction.search([
                        ('partner', 'in', [
                                h.partner.id for h in sub_fallen]),
                        ('state', '=', 'planned'),
                        ('origin', 'like', cls.__name__ + ',%'),
                        ]))
        Interaction.create([
                health._follow_up_values(settings[health.partner.company][1])
                for health in fallen if health.partner.id not in followed])

    def _follow_up_values(self, channel):
        partner = self.partner
        return {
            'company': partner.company.id,
            'population': 'partner',
            'party': partner.party.id,
            'partner': partner.id,
            'employee': partner.manager.id if partner.manager else None,
            'channel': channel.id,
            'direction': 'out',
            'date': dt.datetime.now().replace(microsecond=0),
            'subject': gettext(
                'prm.msg_partner_health_follow_up',
                partner=partner.rec_name,
                score=Pool().get('ir.lang').get().format_number(
                    self.score, 2)),
            'body': '\n'.join(l.rec_name for l in self.lines),
            'origin': str(self),
            'state': 'planned',
            }

    @classmethod
    def take_all(cls):
        """Take the snapshots of the partners with whom the company works

        They are those of the company of the context, or of all.
        """
        pool = Pool()
        Partner = pool.get('prm.partner')
        domain = [('state', 'in', ['onboarding', 'active', 'suspended'])]
        company = Transaction().context.get('company')
        if company is not None:
            domain.append(('company', '=', company))
        cls.take(Partner.search(domain))


class PartnerHealthLine(ModelSQL, ModelView):
    __name__ = 'prm.partner.health.line'
    __string__ = "Contribution to Health"

    health = fields.Many2One(
        'prm.partner.health', "Health", required=True, readonly=True,
        ondelete='CASCADE')
    metric = fields.Many2One(
        'prm.health.metric', "Metric", required=True, readonly=True,
        ondelete='RESTRICT')
    value = fields.Numeric(
        "Value", digits=(None, 2), readonly=True,
        help="What was measured, empty when nothing was known.")
    worst = fields.Numeric("Worst", required=True, readonly=True)
    best = fields.Numeric("Best", required=True, readonly=True)
    points = fields.Numeric(
        "Points", digits=(None, 2), required=True, readonly=True,
        help="Where the value is between the worst (0) and the best (100).\n"
        "They are 50 when nothing was known.")
    weight = fields.Numeric(
        "Weight", digits=(None, 2), required=True, readonly=True)
    contribution = fields.Numeric(
        "Contribution", digits=(None, 2), required=True, readonly=True,
        help="The points multiplied by the weight.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('health')
        cls._order = [
            ('contribution', 'ASC'),
            ('id', 'ASC'),
            ]

    @classmethod
    def compute(cls, metric, value):
        "Return the values of the contribution of the metric"
        points = metric.get_points(value)
        return {
            'metric': metric.id,
            'value': value,
            'worst': metric.worst,
            'best': metric.best,
            'points': points,
            'weight': metric.weight,
            'contribution': (points * metric.weight / 100).quantize(_CENT),
            }

    def get_rec_name(self, name):
        pool = Pool()
        Lang = pool.get('ir.lang')
        lang = Lang.get()

        def format_(number):
            return lang.format_number(number, 2) if number is not None else '-'
        return gettext(
            'prm.msg_partner_health_line',
            metric=self.metric.rec_name,
            value=format_(self.value),
            contribution=format_(self.contribution),
            weight=format_(self.weight))

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('metric.rec_name', *clause[1:])]
