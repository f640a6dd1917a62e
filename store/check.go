package store

import (
	"strconv"

	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

// What every store checks of its arguments, so that all refuse the same in the same words (R27).

// CheckInsert checks the limits of an Insert, as a batch and row by row.
func CheckInsert(rows []Insertion) error {
	if err := checkEntries("tokens", len(rows), MaxBatch); err != nil {
		return err
	}
	for i := range rows {
		if err := rows[i].Validate(); err != nil {
			return err
		}
	}
	return nil
}

// CheckApply checks the limits of an Apply.
func CheckApply(ids []ulid.ULID, bounds Bounds) error {
	if err := checkEntries("ids", len(ids), MaxSlice); err != nil {
		return err
	}
	return bounds.Validate()
}

// CheckPage checks the limit of a page: 1..[MaxPage].
func CheckPage(limit int) error {
	if limit < 1 || limit > MaxPage {
		return &domain.FieldError{Field: "limit", Limit: "1..100", Size: limit}
	}
	return nil
}

// CheckLimit checks a limit that has no upper bound, as of a list of names.
func CheckLimit(limit int) error {
	if limit < 1 {
		return &domain.FieldError{Field: "limit", Limit: "at least 1", Size: limit}
	}
	return nil
}

// CheckCursor checks a cursor of a feed whose events up to the floor have been dropped, and whose latest has the number last (R37, R39).
func CheckCursor(after, floor, last uint64) error {
	switch {
	case after < floor:
		return &CursorGoneError{Cursor: after, Resume: floor}
	case after > last:
		return &domain.FieldError{Field: "after", Limit: "a cursor that the feed has given out"}
	}
	return nil
}

func checkGuards(guards []domain.Guard) error {
	if n := len(guards); n > MaxBatch {
		return &domain.FieldError{Field: "guards", Limit: "0.." + strconv.Itoa(MaxBatch) + " entries", Size: n}
	}
	return nil
}

func checkEntries(field string, n, most int) error {
	if n < 1 || n > most {
		return &domain.FieldError{Field: field, Limit: "1.." + strconv.Itoa(most) + " entries", Size: n}
	}
	return nil
}
