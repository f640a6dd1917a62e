package main

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// plan says which tests are asked about a package, the quick ones first.
type plan struct {
	pkg    string
	rounds []round
	files  string // a pattern of the files that are changed; "" for all
}

// has reports whether a file, named as in the module, is changed.
func (p plan) has(file string) bool {
	is, err := regexp.MatchString(p.files, path.Base(file))
	return path.Dir(file) == p.pkg && is && err == nil
}

// round is some tests of a package, and an environment for them.
type round struct {
	pkg, run, skip string
	env            []string
}

// name tells the round from others of its package in which the same tests are other ones.
func (r round) name() string { return strings.Join(append([]string{r.pkg}, r.env...), " ") }

// manager are the tests of the whole, but for those that take long.
var manager = round{pkg: ".", skip: "^TestREADME|^TestRevoke100000$"}

// bolt are those tests of boltstore that are quick. A disk in memory is so quick that writers hardly ever meet at a commit; and there is
// too little memory for many files.
var bolt = round{pkg: "boltstore", skip: slow + "|^TestWritersShareCommits$|^TestCreateCrash$", env: []string{"RAPID_CHECKS=10"}}

var plans = []plan{
	{pkg: "domain", rounds: []round{{pkg: "domain"}, {pkg: "memstore"}, manager}},
	{pkg: "store", rounds: []round{{pkg: "store"}, {pkg: "memstore"}, manager}},
	{pkg: "memstore", rounds: []round{{pkg: "memstore"}, manager}},
	{pkg: "revocation", rounds: []round{{pkg: "revocation", skip: "Thousand", env: []string{"RAPID_CHECKS=20"}}, {pkg: "revocation"}, manager}},
	{pkg: "internal/codec", rounds: []round{bolt}}, // what it writes is read by the backends, of which this is the quickest
	{pkg: "boltstore", rounds: []round{
		bolt,
		{pkg: "boltstore/powercut", skip: "^TestPowerCut$|^TestLyingDiskIsCaught$"}, // these need FUSE, and are skipped where it is missing
		{pkg: "boltstore", run: slow + "|^TestConformance$", env: []string{"RAPID_CHECKS=20", "CRASH_ROUNDS=20", "EXHAUSTIVE=small"}},
	}},
	{pkg: ".", files: "^restore", rounds: []round{ // of the manager only what is not asked of every backend
		{pkg: "boltstore", run: "^TestRestore", skip: slow}, manager,
	}},
}

// slow are the tests of boltstore that take a while.
const slow = "^TestPromises$|^TestCrash$|^TestDamaged$|Killed$|^TestFullDisk$"

// choose returns the plans of these packages, of all if there are none.
func choose(packages []string) ([]plan, error) {
	if len(packages) == 0 {
		return plans, nil
	}
	var chosen []plan
	for _, pkg := range packages {
		i := slices.IndexFunc(plans, func(p plan) bool { return p.pkg == pkg })
		if i < 0 {
			return nil, fmt.Errorf("mutation: there is no plan for package %q", pkg)
		}
		chosen = append(chosen, plans[i])
	}
	return chosen, nil
}
