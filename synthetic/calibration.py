"""The figures that the sample is calibrated on, each with its source; what has none is marked as an assumption.

Sources: CFPB 2025, "Consumer Use of Buy Now, Pay Later and Other Unsecured Debt" (figures of 2022); CFPB 2022, "Buy Now, Pay
Later: Market trends and consumer impacts" (figures of 2021); UCI, "Default of Credit Card Clients" (Yeh 2016, Taiwan 2005).
docs/sample_data.md says where each was read and how near the sample comes to it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A published figure, and the band in which the default sample must lie."""

    published: float
    low: float
    high: float
    source: str


FIGURES = {
    "plans_a_year_per_borrower": Figure(9.5, 8.5, 10.5, "CFPB 2025"),
    "borrowers_with_more_than_12_plans_a_year": Figure(0.20, 0.16, 0.25, "CFPB 2025"),
    "borrowers_with_simultaneous_plans": Figure(0.63, 0.57, 0.69, "CFPB 2025"),
    "borrowers_with_several_providers": Figure(0.33, 0.28, 0.38, "CFPB 2025"),
    "plan_approval_rate": Figure(0.79, 0.76, 0.82, "CFPB 2025"),
    "mean_financed_amount": Figure(135.0, 120.0, 150.0, "CFPB 2022"),
    "borrowers_charged_a_late_fee": Figure(0.105, 0.08, 0.14, "CFPB 2022"),
    "plans_never_paid_off": Figure(0.038, 0.025, 0.05, "CFPB 2022, charge-off rate"),
    "mean_utilisation": Figure(0.373, 0.33, 0.43, "UCI, mean of six months"),
    "accounts_over_limit": Figure(0.0705, 0.04, 0.10, "UCI, September 2005"),
    "negative_balances": Figure(0.021, 0.015, 0.028, "UCI, 590 to 688 of 30,000 a month"),
    "accounts_never_late_in_six_months": Figure(0.664, 0.61, 0.72, "UCI, no status of 1 or more"),
}

# --- BNPL. The rates are set so that the figures above come out; the shape (lognormal) is an assumption.
BORROWER_SHARE = 0.11  # assumption: below CFPB's 21 % of consumers with a record, to keep the default sample small
PLANS_A_YEAR_MEDIAN = 3.1
PLANS_A_YEAR_SIGMA = 1.30
PLANS_A_YEAR_MOST = 250.0
LOYAL_SHARE = 0.45
STAYS_WITH_HOME_PROVIDER = 0.62
APPROVAL_AT_NO_RISK = 0.835
APPROVAL_LOST_TO_RISK = 0.36
PROVIDERS = ("atome", "grab", "spay", "shopback", "boost", "others")
PROVIDER_WEIGHTS = tuple(1.0 / rank for rank in range(1, 7))  # assumption: a power law
CATEGORIES = ("fashion", "beauty", "electronics", "home", "sports", "travel", "groceries", "other")
CATEGORY_WEIGHTS = (0.42, 0.17, 0.11, 0.09, 0.06, 0.05, 0.05, 0.05)  # CFPB 2022: apparel and beauty 59 %, personal effects 11 %
AMOUNT_MEDIAN = 98.0
AMOUNT_SIGMA = 0.80
PLAN_LENGTHS = ((4, 0.80), (3, 0.13), (6, 0.07))  # instalments, share; 4 are fortnightly, 3 and 6 monthly: assumption
CANCELLED_SHARE = 0.03  # assumption, as are the two below
REFUNDED_SHARE = 0.10
FULL_REFUND_SHARE = 0.40
BNPL_LATE_TO_CARD_LATE = 0.22
BNPL_DEFAULT_TO_PROPENSITY = 0.36
LATE_FEE_SHARE = 0.48
LATE_FEE_GRACE_DAYS = 3
PROVIDER_LIMIT_MEDIAN = 650.0  # assumption, as are the two below
PROVIDER_LIMIT_SIGMA = 0.5
LIMIT_RAISED_SHARE = 0.4  # of the limits, once, within two years of the first

# --- Credit accounts. Late propensity: a beta-binomial of six months gives UCI's 66.4 % that were never late.
LATE_PROPENSITY = (0.20, 1.24)
UTILISATION = (0.50, 0.90)
UTILISATION_NOISE = 0.09
UTILISATION_PERSISTENCE = 0.7
NEGATIVE_BALANCE_SHARE = 0.021
PRODUCTS = ("credit_card", "personal_loan", "overdraft")
INITIAL_ACCOUNT_SHARES = (0.155, 0.055, 0.03)  # assumption, as are the rest
APPLICATIONS_A_YEAR = 0.15
APPLIED_PRODUCT_WEIGHTS = (0.5, 0.3, 0.2)
APPLICATION_APPROVAL = 0.55
PENDING_SHARE = 0.03
LENDERS = ("maybank", "cimb", "public_bank", "rhb", "hong_leong", "ambank", "aeon_credit", "other")
LENDER_WEIGHTS = tuple(1.0 / rank for rank in range(1, 9))
REPORTED_SHARE = 0.45  # accounts with monthly conduct
TRANSACTIONAL_SHARE = 0.10  # accounts whose transactions and balances are sent
DAILY_BALANCE_SHARE = 0.12  # of those, the ones with a balance every day
TRANSACTIONS_A_MONTH = 5.0
DEFAULT_TO_PROPENSITY = 0.15

# --- When something is known: minutes to hours after, a few days late. Assumption.
LATE_SHARE = 0.015
