# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.exceptions import UserError
from trytond.model.exceptions import AccessError, ValidationError


class TeamMemberOverlapError(ValidationError):
    pass


class SeasonalityError(ValidationError):
    pass


class TargetValidationError(ValidationError):
    pass


class RevenueShareError(ValidationError):
    pass


class PerformanceInvoicesError(UserError):
    pass


class PlanAccessError(AccessError):
    pass


class ActionCampaignError(ValidationError):
    pass


class ActionStopError(UserError):
    pass
