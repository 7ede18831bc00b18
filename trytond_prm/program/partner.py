# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from collections import defaultdict

from sql import Null, Window
from sql.functions import RowNumber

from trytond.model import ModelView, Workflow, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval
from trytond.tools import grouped_slice
from trytond.transaction import Transaction, without_check_access

_in = fields.SQL_OPERATORS['in']
_SIZE = 10_000  # values of an IN that every database accepts


class Partner(metaclass=PoolMeta):
    __name__ = 'prm.partner'

    enrolments = fields.One2Many(
        'prm.enrolment', 'partner', "Enrolments",
        states={
            'readonly': Eval('state') == 'ended',
            })
    tier = fields.Function(fields.Many2One(
            'prm.program.tier', "Tier",
            help="What the partner has in its first program.\n"
            "It only changes by an approved decision."),
        'get_tier', searcher='search_tier')
    eligible_tier = fields.Function(fields.Many2One(
            'prm.program.tier', "Eligible Tier",
            help="The highest tier of the program of which the partner "
            "fulfils all the criteria today."),
        'get_eligible_tier', searcher='search_eligible_tier')

    @classmethod
    def _program_query(cls, partners=None, states=('approved',)):
        """Return the query of the first enrolment of each partner

        It is the one in the first program among those in the states.
        """
        pool = Pool()
        Date = pool.get('ir.date')
        Enrolment = pool.get('prm.enrolment')
        Program = pool.get('prm.program')
        today = Date.today()
        enrolment = Enrolment.__table__()
        program = Program.__table__()
        where = (enrolment.state.in_(list(states))
            & ((enrolment.start_date == Null)
                | (enrolment.start_date <= today))
            & ((enrolment.end_date == Null)
                | (enrolment.end_date >= today)))
        if partners is not None:
            where &= _in(enrolment.partner, partners)
        # The approved ones are before those that are only asked for
        query = (enrolment
            .join(program, condition=enrolment.program == program.id)
            .select(
                enrolment.partner.as_('partner'),
                enrolment.program.as_('program'),
                enrolment.tier.as_('tier'),
                RowNumber(window=Window(
                        [enrolment.partner],
                        order_by=[
                            enrolment.state.asc,
                            program.sequence.asc.nulls_first,
                            program.id.asc])).as_('rank'),
                where=where))
        return query.select(
            query.partner, query.program, query.tier,
            where=query.rank == 1)

    @classmethod
    def get_tier(cls, partners, name):
        tiers = dict.fromkeys(map(int, partners))
        cursor = Transaction().connection.cursor()
        for sub_partners in grouped_slice(partners, _SIZE):
            cursor.execute(*cls._program_query(list(map(int, sub_partners))))
            for partner, _, tier in cursor:
                tiers[partner] = tier
        return tiers

    @classmethod
    def search_tier(cls, name, clause):
        pool = Pool()
        Tier = pool.get('prm.program.tier')
        _, operator, operand, *extra = clause
        nested = clause[0][len(name) + 1:]
        query = cls._program_query()
        partner, _, tier = query.columns
        query.columns = [partner]
        if operand is None and not nested and operator in {'=', '!='}:
            return [('id', 'not in' if operator == '=' else 'in', query)]
        query.where &= tier.in_(cls._search_target(
                Tier, nested, operator, operand, extra))
        return [('id', 'in', query)]

    @classmethod
    def _search_target(cls, Target, nested, operator, operand, extra):
        if nested:
            target = [(nested, operator, operand, *extra)]
        elif isinstance(operand, str):
            target = [('rec_name', operator, operand)]
        else:
            target = [('id', operator, operand)]
        return Target.search(target, order=[], query=True)

    @classmethod
    @without_check_access
    def _get_programs(cls, partners):
        "Return the program in which each partner is or would be"
        pool = Pool()
        Program = pool.get('prm.program')
        cursor = Transaction().connection.cursor()
        first = {}
        programs = {}
        for program in Program.search([
                    ('company', 'in', list({p.company.id for p in partners})),
                    ]):
            first.setdefault(program.company.id, program)
        for sub_partners in grouped_slice(partners, _SIZE):
            cursor.execute(*cls._program_query(
                    list(map(int, sub_partners)),
                    ['approved', 'draft', 'pending']))
            programs.update(
                (partner, program) for partner, program, _ in cursor)
        enrolled = {
            p.id: p for p in Program.browse(list(set(programs.values())))}
        return {
            p: (enrolled[programs[p.id]] if p.id in programs
                else first.get(p.company.id))
            for p in partners}

    @classmethod
    def get_eligible_tier(cls, partners, name):
        pool = Pool()
        Date = pool.get('ir.date')
        Tier = pool.get('prm.program.tier')
        programs = cls._get_programs(partners)
        evaluation = Tier.evaluate(
            {(p, program) for p, program in programs.items() if program},
            Date.today())
        tiers = dict.fromkeys(map(int, partners))
        for (partner, _), (tier, _) in evaluation.items():
            tiers[partner.id] = tier.id if tier else None
        return tiers

    @classmethod
    def search_eligible_tier(cls, name, clause):
        "The criteria are evaluated for all the open partners at once"
        pool = Pool()
        Tier = pool.get('prm.program.tier')
        _, operator, operand, *extra = clause
        nested = clause[0][len(name) + 1:]
        tiers = cls.get_eligible_tier(
            cls.search([('state', '!=', 'ended')], order=[]), name)
        if operand is None and not nested and operator in {'=', '!='}:
            with_tier = [p for p, t in tiers.items() if t]
            return [
                ('id', 'not in' if operator == '=' else 'in', with_tier)]
        if nested:
            target = [(nested, operator, operand, *extra)]
        elif isinstance(operand, str):
            target = [('rec_name', operator, operand)]
        else:
            target = [('id', operator, operand)]
        found = set(map(int, Tier.search(target, order=[])))
        return [('id', 'in', [p for p, t in tiers.items() if t in found])]

    @classmethod
    def copy(cls, partners, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('enrolments', None)
        return super().copy(partners, default=default)

    @classmethod
    @ModelView.button
    @Workflow.transition('ended')
    def end(cls, partners):
        "The enrolments end with the relationship"
        pool = Pool()
        Enrolment = pool.get('prm.enrolment')
        super().end(partners)
        enrolments = defaultdict(list)
        for sub_partners in grouped_slice(partners, _SIZE):
            for enrolment in Enrolment.search([
                        ('partner', 'in', list(map(int, sub_partners))),
                        ('state', 'in', ['draft', 'pending', 'approved']),
                        ]):
                enrolments[enrolment.state].append(enrolment)
        if enrolments:
            Enrolment.delete(enrolments['draft'])
            Enrolment.reject(enrolments['pending'])
            Enrolment.terminate(enrolments['approved'])
