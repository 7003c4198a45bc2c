//! Which headers can tell an upstream who is calling (DESIGN §2); what stands in each is [`crate::inject`]'s.

use http::HeaderName;

/// A header that tells an upstream who is calling (DESIGN §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename_all = "kebab-case")]
pub enum IdentityHeader {
    /// The account's id.
    XUserId,
    /// The account's address.
    XUserEmail,
    /// The account's name.
    XUserName,
    /// The account's role.
    XUserRole,
    /// What the caller may do, separated by commas.
    XUserPermissions,
    /// The account's tier.
    XUserTier,
    /// The account's teams.
    XUserTeams,
    /// The account's domains.
    XUserDomains,
    /// The customer organisation in which the caller acts.
    XTenantId,
    /// As what the caller belongs to it: `owner`, `admin` or `member`.
    XTenantRole,
    /// What the caller's tier includes, such as `storage_gb=10, workbenches=unlimited`, for whoever acts in a tenant.
    XTenantQuotas,
    /// `jwt` or `api_key`.
    XAuthMethod,
    /// The login's id; for an API key `X-Key-Id` instead.
    XSessionId,
    /// The request's id.
    XRequestId,
    /// The client's address, as far as it can be known.
    XGatewayClient,
    /// Our signed word for all of it.
    XGatewayAssertion,
}

// === impl IdentityHeader ===

impl IdentityHeader {
    /// As it is sent.
    #[must_use]
    pub const fn name(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::XUserId => "x-user-id",
            Self::XUserEmail => "x-user-email",
            Self::XUserName => "x-user-name",
            Self::XUserRole => "x-user-role",
            Self::XUserPermissions => "x-user-permissions",
            Self::XUserTier => "x-user-tier",
            Self::XUserTeams => "x-user-teams",
            Self::XUserDomains => "x-user-domains",
            Self::XTenantId => "x-tenant-id",
            Self::XTenantRole => "x-tenant-role",
            Self::XTenantQuotas => "x-tenant-quotas",
            Self::XAuthMethod => "x-auth-method",
            Self::XSessionId => "x-session-id",
            Self::XRequestId => "x-request-id",
            Self::XGatewayClient => "x-gateway-client",
            Self::XGatewayAssertion => "x-gateway-assertion",
        })
    }

    /// Does it tell what is not part of what is known of every caller?
    #[must_use]
    pub const fn is_about_groups(self) -> bool {
        matches!(self, Self::XUserTeams | Self::XUserDomains | Self::XTenantQuotas)
    }

    /// What an upstream is told when it does not say what it wants.
    pub const DEFAULT: [Self; 8] = [
        Self::XUserId,
        Self::XUserEmail,
        Self::XUserRole,
        Self::XUserTier,
        Self::XTenantId,
        Self::XAuthMethod,
        Self::XRequestId,
        Self::XGatewayAssertion,
    ];
}
