# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.report import Report


class ConcessionApproval(Report):
    "The e-mail to those who may approve a gesture"
    __name__ = 'prm.concession.approval'
