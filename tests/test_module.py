# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import functools
import unittest
from unittest.mock import patch

from trytond.modules.company.tests import (
    CompanyTestMixin, PartyCompanyCheckEraseMixin)
from trytond.modules.party.tests import PartyCheckReplaceMixin
from trytond.tests.test_tryton import ModuleTestCase
from trytond.tools import resolve

from .tools import ALL_MODULES


def setUpModule():
    # isregisteredby searches the entry points of the whole environment for
    # each class, which takes most of the time of these tests
    patcher = patch('trytond.pool.resolve', functools.cache(resolve))
    patcher.start()
    unittest.addModuleCleanup(patcher.stop)


class PRMTestCase(
        PartyCompanyCheckEraseMixin, PartyCheckReplaceMixin,
        CompanyTestMixin, ModuleTestCase):
    "Test PRM module"
    module = 'prm'


class PRMExtrasTestCase(
        PartyCompanyCheckEraseMixin, PartyCheckReplaceMixin,
        CompanyTestMixin, ModuleTestCase):
    "Test PRM module with all the modules that it extends"
    module = 'prm'
    extras = ALL_MODULES[1:]


del ModuleTestCase
