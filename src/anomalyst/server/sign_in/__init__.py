"""People sign in with their company's identity provider, by OpenID Connect."""
