# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"The steps of the parties, the partners and the interactions."
from collections import defaultdict
from itertools import groupby

from trytond.pool import Pool
from trytond.transaction import Transaction

from .loader import Step, search

__all__ = ['Parties', 'Employees', 'Partners', 'Handovers', 'Interactions']


def named(Model, names, **values):
    "Return the records of the names, created when they are missing"
    names = {n for n in names if n}
    records = {r.name: r for r in search(Model, 'name', names)}
    missing = sorted(names - records.keys())
    if missing:
        for record in Model.create([
                    {'name': n, **values} for n in missing]):
            records[record.name] = record
    return records


class Parties(Step):
    table = 'parties'
    model = 'party.party'
    key = ('code',)
    column = 'code'
    references = True
    mechanisms = {'email': 'email', 'social': 'social'}

    def find(self, values):
        pool = Pool()
        Party = pool.get('party.party')
        return {p.code: p for p in search(Party, 'code', values)}

    def existing(self, rows):
        by_code = {r['code']: r for r in rows}
        for code, party in self.find(by_code).items():
            row = by_code[code]
            values = {
                'code': code,
                'name': party.name,
                'lang': party.lang.code if party.lang else None,
                }
            for column, type_ in self.mechanisms.items():
                mechanisms = [
                    m for m in party.contact_mechanisms
                    if (m.type == 'email') == (type_ == 'email')]
                values[column] = next((
                        row[column] for m in mechanisms
                        if m.value in {
                            row[column],
                            m.format_value(row[column], m.type)}),
                    mechanisms[0].value if mechanisms else None)
            yield party, values

    def same(self, column, value, existing):
        # what the folder does not say may have been completed since
        return value is None or super().same(column, value, existing)

    def load(self):
        self.langs = self._langs()
        for row in self.rows:
            if row['lang'] and row['lang'] not in self.langs:
                self.folder.error(
                    row, 'lang', 'msg_load_language', value=row['lang'])
        super().load()

    def _langs(self):
        pool = Pool()
        Lang = pool.get('ir.lang')
        return {
            l.code: l for l in search(
                Lang, 'code', {r['lang'] for r in self.rows if r['lang']})}

    def write(self, rows):
        pool = Pool()
        Party = pool.get('party.party')
        vlist = []
        for row in rows:
            mechanisms = [
                {'type': type_, 'value': row[column]}
                for column, type_ in self.mechanisms.items()
                if row[column]]
            vlist.append({
                    'code': row['code'],
                    'name': row['name'],
                    'lang': (
                        self.langs[row['lang']].id if row['lang'] else None),
                    'addresses': [('create', [{}])],
                    'contact_mechanisms': [('create', mechanisms)],
                    })
        return Party.create(vlist)


class Employees(Step):
    "An employee has the code of its party"
    table = 'employees'
    model = 'company.employee'
    key = ('code',)
    column = 'code'
    references = True

    def find(self, values):
        pool = Pool()
        Employee = pool.get('company.employee')
        return {
            e.party.code: e for e in search(
                Employee, 'party.code', values,
                [('company', '=', self.company.id)])}

    def existing(self, rows):
        pool = Pool()
        Member = pool.get('prm.team.member')
        employees = self.find({r['code'] for r in rows})
        teams = {}
        for member in search(
                Member, 'employee', {e.id for e in employees.values()},
                order=[('start_date', 'ASC NULLS FIRST'), ('id', 'ASC')]):
            teams.setdefault(member.employee, member.team.name)
        for code, employee in employees.items():
            yield employee, {
                'code': code,
                'name': employee.party.name,
                'team': teams.get(employee),
                'start_date': employee.start_date,
                'end_date': employee.end_date,
                }

    def write(self, rows):
        pool = Pool()
        Employee = pool.get('company.employee')
        Member = pool.get('prm.team.member')
        Party = pool.get('party.party')
        Team = pool.get('prm.team')
        parties = {
            p.code: p
            for p in search(Party, 'code', {r['code'] for r in rows})}
        missing = [r for r in rows if r['code'] not in parties]
        parties.update((p.code, p) for p in Party.create([{
                        'code': r['code'],
                        'name': r['name'],
                        'addresses': [('create', [{}])],
                        } for r in missing]))
        employees = Employee.create([{
                    'company': self.company.id,
                    'party': parties[r['code']].id,
                    'start_date': r['start_date'],
                    'end_date': r['end_date'],
                    } for r in rows])
        teams = named(Team, (r['team'] for r in rows))
        Member.create([{
                    'team': teams[r['team']].id,
                    'employee': e.id,
                    'start_date': r['start_date'],
                    'end_date': r['end_date'],
                    } for r, e in zip(rows, employees) if r['team']])
        return employees


class Partners(Step):
    table = 'partners'
    model = 'prm.partner'
    key = ('party', 'start_date')
    column = 'party'

    def existing(self, rows):
        pool = Pool()
        Partner = pool.get('prm.partner')
        parties = {self.id('parties', r, 'party') for r in rows}
        for partner in search(
                Partner, 'party', parties,
                [('company', '=', self.company.id)]):
            manager = min(
                partner.managers, key=lambda m: m.start_date, default=None)
            yield partner, {
                'party': partner.party.code,
                'type': partner.type.name if partner.type else None,
                'manager': manager.employee.party.code if manager else None,
                'state': partner.state,
                'start_date': partner.start_date,
                'end_date': partner.end_date,
                'end_reason': (
                    partner.end_reason.name if partner.end_reason else None),
                }

    def load(self):
        # A party is a partner again once it has ended
        rounds = defaultdict(list)
        counts = defaultdict(int)
        for row in sorted(
                (r for r in self.rows if self.loader.usable(r)),
                key=lambda r: r['start_date']):
            rounds[counts[row['party']]].append(row)
            counts[row['party']] += 1
        for i in sorted(rounds):
            self.loader.bulk(
                self._match_key(rounds[i]), self._write, self.column)

    def write(self, rows):
        pool = Pool()
        EndReason = pool.get('prm.partner.end_reason')
        Partner = pool.get('prm.partner')
        Type = pool.get('prm.partner.type')
        types = named(Type, (r['type'] for r in rows))
        reasons = named(EndReason, (r['end_reason'] for r in rows))
        vlist = []
        for row in rows:
            values = {
                'company': self.company.id,
                'party': self.id('parties', row, 'party'),
                'type': types[row['type']].id if row['type'] else None,
                'start_date': row['start_date'],
                'end_date': row['end_date'],
                'end_reason': (
                    reasons[row['end_reason']].id
                    if row['end_reason'] else None),
                }
            if row['manager']:
                values['managers'] = [('create', [{
                                'employee': self.id(
                                    'employees', row, 'manager'),
                                'start_date': row['start_date'],
                                }])]
            vlist.append(values)
        partners = Partner.create(vlist)
        states = {r['state']: [] for r in rows}
        for row, partner in zip(rows, partners):
            states[row['state']].append(partner)
            if row['state'] == 'ended' and row['manager']:
                states.setdefault('managed', []).append(partner)
        active = sum(
            (states.get(s, []) for s in ['active', 'suspended', 'managed']),
            [])
        Partner.onboard(active + states.get('onboarding', []))
        Partner.activate(active)
        Partner.suspend(states.get('suspended', []))
        Partner.end(states.get('ended', []))
        return partners


class Handovers(Step):
    table = 'handovers'
    model = 'prm.partner.manager'
    key = ('party', 'date')
    column = 'date'

    def existing(self, rows):
        pool = Pool()
        Manager = pool.get('prm.partner.manager')
        parties = {self.id('parties', r, 'party') for r in rows}
        managers = sorted(
            search(
                Manager, 'partner.party', parties,
                [('partner.company', '=', self.company.id)]),
            key=lambda m: (m.partner.id, m.start_date))
        for _, periods in groupby(managers, key=lambda m: m.partner):
            previous = None
            for manager in periods:
                if previous:
                    yield manager, {
                        'party': manager.partner.party.code,
                        'from': previous.employee.party.code,
                        'to': manager.employee.party.code,
                        'date': manager.start_date,
                        }
                previous = manager

    def load(self):
        rows = [r for r in self.rows if self.loader.usable(r)]
        new = self._match_key(rows) if rows else []
        new.sort(key=lambda r: (r['date'], r['to']))
        for _, group in groupby(new, key=lambda r: (r['date'], r['to'])):
            self.loader.bulk(list(group), self._write, self.column)

    def write(self, rows):
        pool = Pool()
        Partner = pool.get('prm.partner')
        row = rows[0]
        date, to = row['date'], self.record('employees', row, 'to')
        by_party = defaultdict(list)
        for partner in search(
                Partner, 'party',
                {self.id('parties', r, 'party') for r in rows},
                [('company', '=', self.company.id)]):
            by_party[partner.party.code].append(partner)
        partners = []
        for row in rows:
            partner = next((
                    p for p in by_party[row['party']]
                    if p.start_date <= date
                    and (p.state != 'ended' or date <= p.end_date)), None)
            if not partner:
                self.folder.error(
                    row, 'date', 'msg_load_handover_date',
                    party=row['party'], date=date.isoformat())
                continue
            with Transaction().set_context(date=date):
                partner, = Partner.browse([partner])
                manager = partner.manager
            if manager != self.record('employees', row, 'from'):
                self.folder.error(
                    row, 'from', 'msg_load_handover_from',
                    employee=row['from'], party=row['party'],
                    date=date.isoformat(),
                    manager=manager.party.code if manager else '')
                continue
            partners.append(partner)
        Partner.handover(Partner.browse(partners), to, date)
        return rows


class Interactions(Step):
    table = 'interactions'
    model = 'prm.interaction'
    column = 'date'

    def existing(self, rows):
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        dates = [r['date'] for r in rows]
        for i in Interaction.search([
                    ('company', '=', self.company.id),
                    ('date', '>=', min(dates)),
                    ('date', '<=', max(dates)),
                    ], order=[]):
            yield i, {
                'party': i.party.code if i.party else None,
                'employee': i.employee.party.code if i.employee else None,
                'date': i.date,
                'channel': i.channel.kind,
                'direction': i.direction,
                'population': i.population,
                'subject': i.subject or None,
                'sentiment': i.sentiment,
                'state': i.state,
                }

    def write(self, rows):
        pool = Pool()
        Channel = pool.get('prm.channel')
        Interaction = pool.get('prm.interaction')
        channels = {}
        for channel in Channel.search([], order=[('id', 'ASC')]):
            channels.setdefault(channel.kind, channel)
        kinds = {r['channel'] for r in rows}
        for channel in Channel.create([
                    {'name': k.title(), 'kind': k}
                    for k in sorted(kinds - channels.keys())]):
            channels[channel.kind] = channel
        interactions = Interaction.create([{
                    'company': self.company.id,
                    'party': self.id('parties', r, 'party'),
                    'employee': self.id('employees', r, 'employee'),
                    'date': r['date'],
                    'channel': channels[r['channel']].id,
                    'direction': r['direction'],
                    'population': r['population'],
                    'subject': r['subject'],
                    'sentiment': r['sentiment'],
                    } for r in rows])
        states = defaultdict(list)
        for row, interaction in zip(rows, interactions):
            states[row['state']].append(interaction)
        Interaction.do(states['done'])
        Interaction.cancel(states['cancelled'])
        return interactions


