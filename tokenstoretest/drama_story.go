package tokenstoretest

import (
	"maps"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"
)

// A drama is told as a story of revocation/testdata: its commands are those steps that the story's world has too. What has no
// command there is told as prose.

func (d *drama) tell(line string) { d.told = append(d.told, line) }

// named gives a token that is being let in its name, and returns the command that lets it in.
func (d *drama) named(a *actor, id ulid.ULID) string {
	k := *d.doing(a)
	if k.kind == toImport {
		if d.labels[id] != "" {
			k.user, k.session = "", ""
		}
		d.labels[id] = k.name
		return k.String()
	}
	if d.labels[id] == "" {
		for slices.Contains(slices.Collect(maps.Values(d.labels)), k.name) {
			k.name += "b" // the caller of the one before never heard of it
		}
		d.labels[id] = k.name
	}
	k.name = d.labels[id]
	return k.String()
}

func (d *drama) label(id ulid.ULID) string { return d.labels[id] }

// cutName is the name of a revocation, or empty for one that a replay caused.
func (d *drama) cutName(id ulid.ULID) string {
	for name, r := range d.cuts {
		if r.id == id {
			return name
		}
	}
	return ""
}

func (d *drama) heldNames() []string { return slices.Sorted(maps.Keys(d.held)) }

// story is what has happened so far, and a look at what it led to. "go test ./revocation -run TestStories -update" fills in the outcome.
func (d *drama) story(promise string) string {
	lines := []string{"# Found by playing all schedules of \"" + d.explorer.scope.name + "\":", "# " + promise + ".", "", "bounds visit=1 remove=1"}
	if slices.ContainsFunc(d.told, func(line string) bool { return strings.HasSuffix(line, "at=other") }) {
		lines = append(lines, "applier other")
	}
	lines = append(lines, d.told...)
	lines = append(lines, "run", "list", "pending")
	for _, name := range d.heldNames() {
		lines = append(lines, "introspect "+name)
	}
	return strings.Join(lines, "\n") + "\n----\n"
}
