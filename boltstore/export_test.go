package boltstore

// SettleEarly has the index settle after so many entries, so that a test sees many levels of runs with few tokens.
func (b *Backend) SettleEarly(entries uint64) { b.freshMax = entries }
