// Package failpoints has only tests: those of boltstore on a bbolt whose own failpoints are set.
//
// bbolt marks places in its source by comments, such as the one before the last sync of a commit. gofail makes code of these. The
// tests build themselves a second time, from a copy of bbolt in which that has been done, and have the second program fail or die at
// these places. What it leaves behind is looked at with bbolt as it is.
package failpoints
