# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"The order in which the tables are written."
from .associate import (
    Buybacks, Milestones, Payments, ShareClasses, ShareTransactions)
from .plan import Actions, Findings, Seasonalities, Targets
from .relation import Employees, Handovers, Interactions, Parties, Partners
from .sale import ConcessionReasons, Concessions, FiscalYears, Invoices

__all__ = ['STEPS']

STEPS = [
    Parties, Employees, Partners, Handovers, FiscalYears, Invoices,
    ConcessionReasons, Concessions, Interactions, ShareClasses,
    ShareTransactions, Milestones, Buybacks, Payments, Seasonalities, Targets,
    Actions, Findings]
