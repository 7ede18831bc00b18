# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sql import Cast, Literal, Select

from trytond.modules.company.tests import create_company, set_company
from trytond.modules.prm.trytond_prm.tools import sql_round
from trytond.pool import Pool
from trytond.tests.test_tryton import (
    activate_module, drop_db, with_transaction)
from trytond.transaction import Transaction


class PipelineTestCase(unittest.TestCase):
    "Test pipeline without opportunities"

    @classmethod
    def setUpClass(cls):
        drop_db()
        activate_module('prm')

    @with_transaction()
    def test_empty(self):
        "The pipeline is empty without the sale_opportunity module"
        pool = Pool()
        Pipeline = pool.get('prm.pipeline')
        company = create_company()
        with set_company(company):
            self.assertEqual(Pipeline.search([]), [])
            self.assertEqual(
                Pipeline.search([('date', '>=', dt.date.today())]), [])

    @with_transaction()
    def test_sql_round(self):
        "The SQL rounds half-even like the currencies"
        cursor = Transaction().connection.cursor()
        company = create_company()
        currency = company.currency

        @settings(
            deadline=None, max_examples=200,
            suppress_health_check=list(HealthCheck))
        @given(
            st.decimals(
                min_value=-10 ** 9, max_value=10 ** 9, places=2),
            st.integers(min_value=0, max_value=200))
        def check(amount, half_percents):
            factor = Decimal(half_percents) / 200
            expression = sql_round(
                Cast(Literal(str(amount)), 'NUMERIC')
                * Cast(Literal(str(factor)), 'NUMERIC'),
                Cast(Literal('0.01'), 'NUMERIC'))
            cursor.execute(*Select([expression]))
            result, = cursor.fetchone()
            self.assertEqual(
                Decimal(str(result)).quantize(Decimal('0.01')),
                currency.round(amount * factor))

        check()
