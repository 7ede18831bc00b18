# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"The steps of the targets, the plan and the review."
import datetime as dt
import re
from collections import defaultdict

from dateutil.relativedelta import relativedelta

from trytond.pool import Pool

from .loader import Step, search

__all__ = ['Seasonalities', 'Targets', 'Actions', 'Findings']

_year = re.compile(r'\b(19|20)\d\d\b')


class Seasonalities(Step):
    table = 'seasonality'
    model = 'prm.seasonality'
    key = ('name',)
    column = 'name'
    references = True

    def find(self, values):
        pool = Pool()
        Seasonality = pool.get('prm.seasonality')
        return {
            s.name: s for s in search(
                Seasonality, 'name', values,
                [('company', '=', self.company.id)])}

    def existing(self, rows):
        for name, seasonality in self.find({r['name'] for r in rows}).items():
            yield seasonality, {
                'name': name,
                **{str(m): s for m, s in seasonality.shares.items()},
                }

    def same(self, column, value, existing):
        if column != 'name':
            value = value or 0
        return super().same(column, value, existing)

    def write(self, rows):
        pool = Pool()
        Seasonality = pool.get('prm.seasonality')
        return Seasonality.create([{
                    'company': self.company.id,
                    'name': r['name'],
                    'lines': [('create', [
                                {'month': m, 'share': r[str(m)]}
                                for m in range(1, 13) if r[str(m)]])],
                    } for r in rows])


class Targets(Step):
    table = 'targets'
    model = 'prm.target'
    key = ('scope', 'code', 'measure', 'start_date', 'end_date')
    column = 'scope'

    def existing(self, rows):
        pool = Pool()
        Target = pool.get('prm.target')
        for target in Target.search([
                    ('company', '=', self.company.id),
                    ('start_date', 'in', [r['start_date'] for r in rows]),
                    ]):
            yield target, {
                'scope': target.scope,
                'code': self._code(target),
                'measure': target.measure,
                'start_date': target.start_date,
                'end_date': target.end_date,
                'target': target.target,
                'seasonality': (
                    target.seasonality.name if target.seasonality else None),
                }

    @staticmethod
    def _code(target):
        if target.scope == 'team':
            return target.team.name
        elif target.scope == 'employee':
            return target.employee.party.code
        elif target.scope == 'partner':
            return target.partner.party.code

    def _subjects(self, rows):
        "The records of the codes by scope"
        pool = Pool()
        Employee = pool.get('company.employee')
        Partner = pool.get('prm.partner')
        Team = pool.get('prm.team')
        codes = defaultdict(set)
        for row in rows:
            codes[row['scope']].add(row['code'])
        company = [('company', '=', self.company.id)]
        return {
            'team': {
                t.name: t
                for t in search(Team, 'name', codes['team'], company)},
            'employee': {
                e.party.code: e for e in search(
                    Employee, 'party.code', codes['employee'], company)},
            'partner': {
                p.party.code: p for p in search(
                    Partner, 'party.code', codes['partner'], company,
                    order=[('start_date', 'ASC')])},
            }

    def write(self, rows):
        pool = Pool()
        Target = pool.get('prm.target')
        subjects = self._subjects(rows)
        vlist = []
        for row in rows:
            values = {
                'company': self.company.id,
                'scope': row['scope'],
                'measure': row['measure'],
                'start_date': row['start_date'],
                'end_date': row['end_date'],
                'target': row['target'],
                'seasonality': self.id('seasonality', row, 'seasonality'),
                }
            if row['scope'] != 'company':
                values[row['scope']] = (
                    subjects[row['scope']][row['code']].id)
            vlist.append(values)
        return Target.create(vlist)

    def load(self):
        rows = [r for r in self.rows if self.loader.usable(r)]
        subjects = self._subjects(rows)
        for row in rows:
            if (row['scope'] != 'company'
                    and row['code'] not in subjects[row['scope']]):
                self.folder.error(
                    row, 'code', 'msg_load_unknown', value=row['code'],
                    table=(
                        'partners' if row['scope'] == 'partner'
                        else 'employees'))
        super().load()


class Actions(Step):
    table = 'actions'
    model = 'prm.plan.action'
    key = ('plan', 'name')
    column = 'name'

    def _plans(self, rows):
        pool = Pool()
        Plan = pool.get('prm.plan')
        return {
            p.name: p for p in search(
                Plan, 'name', {r['plan'] for r in rows},
                [('company', '=', self.company.id)])}

    def existing(self, rows):
        for plan in self._plans(rows).values():
            for action in plan.actions:
                yield action, {
                    'plan': plan.name,
                    'name': action.name,
                    'kind': action.kind,
                    'core': bool(action.core),
                    'employee': (
                        action.employee.party.code
                        if action.employee else None),
                    'start_date': action.start_date,
                    'due_date': action.due_date,
                    'budget': action.budget,
                    'expected_revenue': action.expected_revenue,
                    'fills': tuple(
                        sorted(map(int, action.fills or []))) or None,
                    'state': action.state,
                    'why': action.why or None,
                    }

    def write(self, rows):
        pool = Pool()
        Action = pool.get('prm.plan.action')
        Plan = pool.get('prm.plan')
        plans = self._plans(rows)
        by_plan = defaultdict(list)
        for row in rows:
            if row['plan'] not in plans:
                by_plan[row['plan']].append(row)
        for plan in Plan.create([{
                    'company': self.company.id,
                    'name': name,
                    **self._period(name, plan_rows),
                    } for name, plan_rows in by_plan.items()]):
            plans[plan.name] = plan
        self.count('prm.plan', len(by_plan))
        actions = Action.create([{
                    'plan': plans[r['plan']].id,
                    'name': r['name'],
                    'kind': r['kind'],
                    'core': r['core'],
                    'employee': self.id('employees', r, 'employee'),
                    'start_date': r['start_date'],
                    'due_date': r['due_date'],
                    'budget': r['budget'],
                    'expected_revenue': r['expected_revenue'],
                    'fills': [str(m) for m in r['fills'] or []],
                    'why': r['why'],
                    'stopped_date': (
                        self._end_date(r)
                        if r['state'] in {'shelved', 'abandoned'} else None),
                    } for r in rows])
        created = [plans[name] for name in by_plan]
        Plan.approve(created)
        Plan.run(created)
        states = defaultdict(list)
        for row, action in zip(rows, actions):
            states[row['state']].append(action)
        Action.run(states['running'] + states['done'])
        Action.write(*sum((
                    ([a], {'done_date': self._end_date(r)})
                    for r, a in zip(rows, actions)
                    if r['state'] == 'done'), ()))
        Action.do(states['done'])
        Action.shelve(states['shelved'])
        Action.abandon(states['abandoned'])
        return actions

    def _period(self, name, rows):
        """The dates of the plan

        It is the year of its name, else the years of its actions.
        """
        if match := _year.search(name):
            start = end = int(match.group())
        else:
            dates = [
                d for r in rows for d in [r['start_date'], r['due_date']]
                if d] or [self.loader.last_date]
            start, end = min(dates).year, max(dates).year
        return {
            'start_date': dt.date(start, 1, 1),
            'end_date': dt.date(end, 12, 31),
            }

    def _end_date(self, row):
        "The date of the end of the action, which the folder does not tell"
        last_date = self.loader.last_date
        return min(row['due_date'] or last_date, last_date)


class Findings(Step):
    "The review of the half-year of the last invoices and its findings"
    table = 'findings'
    model = 'prm.review.finding'
    column = 'text'

    def _half(self):
        pool = Pool()
        Invoice = pool.get('account.invoice')
        invoices = Invoice.search([
                ('company', '=', self.company.id),
                ('type', '=', 'out'),
                ('state', 'in', ['posted', 'paid']),
                ('invoice_date', '<=', self.loader.today),
                ], order=[('invoice_date', 'DESC')], limit=1)
        if not invoices:
            return None
        date = invoices[0].invoice_date
        start = dt.date(date.year, 1 if date.month <= 6 else 7, 1)
        end = start + relativedelta(months=6, days=-1)
        return start, end

    def _review(self):
        pool = Pool()
        Review = pool.get('prm.review')
        half = self._half()
        if not half:
            return None
        start, end = half
        reviews = Review.search([
                ('company', '=', self.company.id),
                ('start_date', '=', start),
                ('end_date', '=', end),
                ], order=[('id', 'ASC')], limit=1)
        return reviews[0] if reviews else None

    def load(self):
        pool = Pool()
        Review = pool.get('prm.review')
        half = self._half()
        if half and not self._review():
            start, end = half
            year = relativedelta(years=1)
            Review.create([{
                        'company': self.company.id,
                        'name': '%s H%s' % (
                            start.year, 1 if start.month == 1 else 2),
                        'start_date': start,
                        'end_date': end,
                        'comparison': 'last_year',
                        'compare_start_date': start - year,
                        'compare_end_date': end - year,
                        }])
            self.count('prm.review', 1)
        elif not half:
            for row in self.rows:
                self.folder.error(row, 'text', 'msg_load_no_review')
        super().load()

    def existing(self, rows):
        pool = Pool()
        Finding = pool.get('prm.review.finding')
        for finding in Finding.search([
                    ('review.company', '=', self.company.id),
                    ]):
            yield finding, {
                'kind': finding.kind,
                'text': finding.text,
                }

    def write(self, rows):
        pool = Pool()
        Finding = pool.get('prm.review.finding')
        review = self._review()
        return Finding.create([{
                    'review': review.id,
                    'kind': r['kind'],
                    'text': r['text'],
                    } for r in rows])
