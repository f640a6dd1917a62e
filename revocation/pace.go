package revocation

import "time"

// pace fits the size of slices to how long they take. That varies, most where the store's commits are shared with a busy
// foreground: a slice waits for the commit under way, and for the disk. So it is not one slow slice that makes them smaller, and
// what a commit takes without a slice's own work is measured all along, by slices of the smallest size.
type pace struct {
	hold     time.Duration // a slice should take no longer
	largest  int
	size     int           // how many tokens a slice may remove at present
	smallest time.Duration // how long slices of the smallest size take: a commit, as a moving average
	mean     time.Duration // how long slices of that size take, as a moving average
	seen     int           // how many there were
	slow     int           // how many of them, in a row, took too long
	probeIn  int           // after how many slices the smallest size is tried
	probing  bool          // the slice under way tries it
}

const (
	minSlice   = 16
	probeEvery = 8 // slices
	enough     = 3 // slices, to find a size wrong
	averaged   = 8 // slices
)

func newPace(hold time.Duration, largest int) pace {
	return pace{hold: hold, largest: largest, size: min(64, largest), probeIn: probeEvery}
}

func (p *pace) least() int { return min(minSlice, p.largest) }

// next returns the size of the slice that is next.
func (p *pace) next() int {
	if p.probing = p.probeIn < 1; p.probing {
		return p.least()
	}
	return p.size
}

// limit is how long a slice may take. Where commits alone take longer than a third of what it should, it is three times as long as they do: a
// smaller slice would be little quicker, and get nowhere. The third of them counts for up to twice hold: the smallest may be slow by their own work.
func (p *pace) limit() time.Duration {
	return max(p.hold, 2*p.smallest+min(p.smallest, 2*p.hold))
}

// work is how much of what the last slice took, before [pace.took] takes it in, is its own: without the wait for a commit, which the foreground's
// calls share, and half of it at least. That wait is what no token would take, as a line through what few take and what these took has it;
// of slices of the smallest size it is not known.
func (p *pace) work(took time.Duration) time.Duration {
	more := time.Duration(p.size - p.least())
	if p.probing || more == 0 {
		return took
	}
	each := max(0, took-p.smallest) / more
	commit := max(0, p.smallest-each*time.Duration(p.least()))
	return took - min(commit, took/2)
}

// took takes in how long the last slice took.
func (p *pace) took(took time.Duration) {
	if p.probing || p.size == p.least() {
		if p.smallest == 0 {
			p.smallest = took
		}
		p.smallest += (took - p.smallest) / 4
		p.probeIn = probeEvery
	}
	if p.probing {
		p.probing = false
		return
	}
	p.probeIn--
	p.seen++
	p.mean += (took - p.mean) / time.Duration(min(p.seen, averaged))
	limit := p.limit()
	if p.slow++; took <= limit {
		p.slow = 0
	}
	switch {
	case 2*took < p.hold, p.seen >= enough && 2*p.mean-p.smallest < limit: // that is what twice the size should take
		p.resize(min(p.size*2, p.largest))
	case p.slow == enough, took >= 4*limit:
		p.resize(max(p.size/2, p.least()))
	}
}

func (p *pace) resize(size int) {
	p.size, p.mean, p.seen, p.slow = size, 0, 0, 0
}
