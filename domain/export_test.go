package domain

// Successor is what an exchange without a pepper replaces the credential by.
func (c Credential) Successor(tenant string, salt Salt) Credential {
	return c.successor(tenant, salt, nil)
}
