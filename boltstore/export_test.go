package boltstore

// PagesWritten is how many times a page, or several in a row, have been written.
func (b *Backend) PagesWritten() int64 { s := b.db.Stats(); return s.TxStats.GetWrite() }

// SettleEarly has the index settle after so many entries, so that a test sees many levels of runs with few tokens.
func (b *Backend) SettleEarly(entries uint64) { b.freshMax = entries }
