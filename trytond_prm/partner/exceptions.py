# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.exceptions import UserError
from trytond.model.exceptions import AccessError, ValidationError


class PartnerOpenError(ValidationError):
    pass


class PartnerStateError(UserError):
    pass


class PartnerDeleteError(AccessError):
    pass


class ManagerError(ValidationError):
    pass


class SocialURLError(ValidationError):
    pass


class AgreementStateError(UserError):
    pass


class AgreementDeleteError(AccessError):
    pass


class TerritoryError(ValidationError):
    pass
