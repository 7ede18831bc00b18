# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"The tables of a folder and their columns: the reference of the format."
from .column import (
    URL, Boolean, Choice, Date, DateTime, Email, Integer, Months, Number,
    Reference, Text)

__all__ = ['TABLES', 'Table']

CHANNELS = [
    'phone', 'email', 'meeting', 'video', 'event', 'letter', 'social',
    'messaging', 'other']


class Table:
    "A table of the format: its columns and the columns of its key"

    def __init__(self, name, columns, key=None):
        self.name = name
        self.columns = {c.name: c for c in columns}
        self.key = key

    @property
    def file(self):
        return self.name + '.csv'


TABLES = {t.name: t for t in [
        Table('parties', [
                Text('code', required=True),
                Text('name', required=True),
                Choice('role', ['customer', 'partner', 'associate']),
                Text('lang'),
                Email('email'),
                URL('social'),
                ], key='code'),
        Table('employees', [
                Text('code', required=True),
                Text('name', required=True),
                Text('team'),
                Date('start_date'),
                Date('end_date'),
                ], key='code'),
        Table('partners', [
                Reference('party', 'parties', required=True),
                Text('type'),
                Reference('manager', 'employees'),
                Choice('state', [
                        'prospect', 'onboarding', 'active', 'suspended',
                        'ended']),
                Date('start_date', required=True),
                Date('end_date'),
                Text('end_reason'),
                ]),
        Table('handovers', [
                Reference('party', 'parties', required=True),
                Reference('from', 'employees', required=True),
                Reference('to', 'employees', required=True),
                Date('date', required=True),
                ]),
        Table('invoices', [
                Text('number', required=True),
                Reference('party', 'parties', required=True),
                Date('date', required=True),
                Text('description'),
                Number('amount', required=True, positive=True),
                ], key='number'),
        Table('concession_reasons', [
                Text('name', required=True),
                Boolean('separation'),
                ], key='name'),
        Table('concessions', [
                Text('code', required=True),
                Reference('party', 'parties', required=True),
                Date('date', required=True),
                Choice('kind', [
                        'credit_note', 'refund', 'discount', 'free_service']),
                Reference('reason', 'concession_reasons', required=True),
                Reference('invoice', 'invoices'),
                Number('amount', required=True, positive=True),
                Number('cost'),
                Date('imputation_date'),
                Choice('state', [
                        'draft', 'submitted', 'approved', 'granted',
                        'rejected', 'cancelled']),
                ], key='code'),
        Table('interactions', [
                Reference('party', 'parties'),
                Reference('employee', 'employees'),
                DateTime('date', required=True),
                Choice('channel', CHANNELS),
                Choice('direction', ['in', 'out']),
                Choice('population', ['customer', 'partner', 'staff']),
                Text('subject'),
                Integer('sentiment', minimum=-2, maximum=2),
                Choice('state', ['planned', 'done', 'cancelled']),
                ]),
        Table('share_classes', [
                Text('name', required=True),
                Number('nominal_value', required=True, digits=4),
                Integer('votes', required=True),
                ], key='name'),
        Table('share_transactions', [
                Date('date', required=True),
                Choice('kind', [
                        'issue', 'transfer', 'repurchase', 'cancellation']),
                Reference('share_class', 'share_classes', required=True),
                Integer('quantity', required=True, positive=True),
                Reference('party_from', 'parties'),
                Reference('party_to', 'parties'),
                Number('unit_price', digits=4),
                ]),
        Table('milestones', [
                Reference('party', 'parties', required=True),
                Choice('kind', [
                        'differences', 'announcement', 'protocol',
                        'last_payment', 'other']),
                Date('date', required=True),
                Text('description'),
                ]),
        Table('buybacks', [
                Text('code', required=True),
                Reference('party', 'parties', required=True),
                Reference('share_class', 'share_classes', required=True),
                Integer('quantity', required=True, positive=True),
                Number('unit_price', required=True, digits=4),
                Choice('route', [
                        'capital_reduction', 'company_purchase',
                        'third_party']),
                Choice('title_transfer', ['effective', 'full_payment']),
                Date('announcement_date', required=True),
                Date('signature_date', required=True),
                Date('decision_date'),
                Date('opposition_end'),
                Choice('method', ['constant_principal', 'annuity', 'bullet']),
                Number('advance'),
                Integer(
                    'number_of_instalments', required=True, positive=True,
                    maximum=1200),
                Integer(
                    'period_months', required=True, positive=True,
                    maximum=1200),
                Number('interest_rate', digits=6, maximum=1),
                Choice('day_count', ['30e_360', 'act_365', 'act_360']),
                ], key='code'),
        Table('payments', [
                Reference('buyback', 'buybacks', required=True),
                Date('due_date', required=True),
                Date('paid_date', required=True),
                Number('amount', required=True, positive=True),
                ]),
        Table('seasonality', [
                Text('name', required=True),
                *(Number(str(m), digits=6, maximum=1) for m in range(1, 13)),
                ], key='name'),
        Table('targets', [
                Choice('scope', ['company', 'team', 'employee', 'partner']),
                Text('code'),
                Choice('measure', ['revenue']),
                Date('start_date', required=True),
                Date('end_date', required=True),
                Number('target', required=True),
                Reference('seasonality', 'seasonality'),
                ]),
        Table('actions', [
                Text('plan', required=True),
                Text('name', required=True),
                Choice('kind', [
                        'product', 'service', 'event', 'campaign', 'other']),
                Boolean('core'),
                Reference('employee', 'employees'),
                Date('start_date'),
                Date('due_date'),
                Number('budget'),
                Number('expected_revenue'),
                Months('fills'),
                Choice('state', [
                        'planned', 'running', 'done', 'shelved',
                        'abandoned']),
                Text('why', multiline=True),
                ]),
        Table('findings', [
                Choice('kind', [
                        'negative', 'positive', 'decision', 'outlook']),
                Text('text', required=True, multiline=True),
                ]),
        ]}
