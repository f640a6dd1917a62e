package memstore

import (
	"iter"
	"slices"

	"github.com/oklog/ulid/v2"
)

// idIndex is ids under texts, in their order. Most texts have few, which stand in one sorted list.
type idIndex struct {
	few  map[string][]ulid.ULID
	many map[string]*idSet // under texts that had more than fewIDs at some time since they last had none
}

const fewIDs = 64

func newIDIndex() idIndex { return idIndex{few: map[string][]ulid.ULID{}, many: map[string]*idSet{}} }

func (x *idIndex) add(text string, id ulid.ULID) {
	list := x.few[text]
	switch set := x.many[text]; {
	case set != nil:
		set.add(id)
		return
	case len(list) == fewIDs:
		x.many[text] = &idSet{chunks: [][]ulid.ULID{list}}
		x.many[text].add(id)
		delete(x.few, text)
		return
	}
	at, found := slices.BinarySearchFunc(list, id, ulid.ULID.Compare)
	if !found {
		x.few[text] = slices.Insert(list, at, id)
	}
}

func (x *idIndex) remove(text string, id ulid.ULID) {
	if set := x.many[text]; set != nil {
		if set.remove(id); set.empty() {
			delete(x.many, text)
		}
		return
	}
	list := x.few[text]
	at, found := slices.BinarySearchFunc(list, id, ulid.ULID.Compare)
	switch {
	case found && len(list) == 1:
		delete(x.few, text)
	case found:
		x.few[text] = slices.Delete(list, at, at+1)
	}
}

// after walks the ids under the text above the given one, ascending. The index may be changed only after the walk has ended.
func (x *idIndex) after(text string, id ulid.ULID) iter.Seq[ulid.ULID] {
	if set := x.many[text]; set != nil {
		return set.after(id)
	}
	list := x.few[text]
	at, found := slices.BinarySearchFunc(list, id, ulid.ULID.Compare)
	if found {
		at++
	}
	return slices.Values(list[at:])
}
