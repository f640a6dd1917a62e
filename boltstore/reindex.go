package boltstore

import "slices"

// An index is made again as one run: in order, of the level that it would have come to in time. What does not fit into memory at
// once comes to be several runs, which then merge.
const (
	sortedAtOnce = 1 << 19 // entries
	mergedAtOnce = 1 << 18
)

// add takes up entries of the index.
func (d *deriver) add(entries []entry) {
	d.entries = append(d.entries, entries...)
	d.indexed += uint64(len(entries))
	if len(d.entries) >= d.sorted {
		d.run(0)
	}
}

// run writes what has been taken up as a run of a level.
func (d *deriver) run(level byte) {
	slices.SortFunc(d.entries, byOrder)
	all := make([]byte, 0, len(d.entries)*entrySize)
	for _, e := range d.entries {
		all = append(all, e[:]...)
	}
	d.to.appendRun(runOf(level, d.runs), all)
	d.runs++
	d.entries = d.entries[:0]
	d.put(len(all))
}

// settle makes one run of all, and returns how often entries have settled, as that run's level says: so the next run of the lowest
// level is none of those that it stands for.
func (d *deriver) settle() (settled uint64) {
	if d.indexed == 0 {
		return 0
	}
	level := byte(1)
	for n := uint64(freshMax) << levelBits; n < d.indexed || d.runs >= 1<<(levelBits*level); n <<= levelBits {
		level++
	}
	if d.runs == 0 {
		d.run(level)
	} else {
		d.run(0)
		d.merge(level)
	}
	return 1 << (levelBits * level)
}

// merge moves what the runs of the lowest level have to one of another.
func (d *deriver) merge(level byte) {
	for {
		d.to.known = nil
		var from []runKey
		for _, run := range d.to.runs() {
			if run.level() == 0 {
				from = append(from, run)
			}
		}
		if len(from) == 0 {
			return
		}
		d.to.move(from, level, mergedAtOnce)
		check(d.commit())
		d.begin()
	}
}
