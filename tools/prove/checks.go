package main

import "slices"

// test is a test by the folder of its package and its name, which may be that of a subtest.
type test struct{ pkg, name string }

// check is one way in which promises are tested.
type check struct {
	method   string
	promises []string
	tests    []test
	unit     string // what is counted
	floor    int    // what must be tried at least, by default effort; other efforts multiply it
	each     int    // what each of the tests must try at least, or one could do the work of all; likewise
	fixed    bool   // every effort tries the same
}

// What can be counted. Passed are the tests and subtests that passed. All others are what a test says of itself by an attribute
// of that name; where it does not, cases are what rapid says.
const (
	passed     = "passed"
	cases      = "cases"
	operations = "operations"
	stories    = "stories"
	kills      = "kills"
	cuts       = "cuts"
	schedules  = "schedules"
)

// promisesOf says where a subtest of tokenstoretest runs: in memory, and on a file.
func promisesOf(subtest string) []test {
	return []test{{"tokenstoretest", "TestMemstore/" + subtest}, {"boltstore", "TestPromises/" + subtest}}
}

var safety = []string{"S1", "S2", "S3", "S4", "S6", "S7"}

// checks are the methods that reach across promises. Beside them every promise has the tests that docs/guarantees.md names.
var checks = []check{
	{
		method:   "rules of the store, memory and bbolt",
		promises: slices.Concat(safety, []string{"S5", "L1", "F1"}),
		tests:    []test{{"memstore", "TestConformance"}, {"boltstore", "TestConformance"}},
		unit:     passed, floor: 85, each: 42, fixed: true,
	},
	{
		method:   "model machine, memory and bbolt",
		promises: slices.Concat(safety, []string{"L1", "F1"}),
		tests:    promisesOf("Machine"),
		unit:     cases, floor: 1000, each: 90,
	},
	{
		method:   "model machine, bbolt reopened",
		promises: []string{"S5"},
		tests:    []test{{"boltstore", "TestPromises/Machine"}},
		unit:     cases, floor: 100,
	},
	{
		method:   "model machine with the engine, memory and bbolt",
		promises: slices.Concat(safety, []string{"L1", "F1"}),
		tests:    promisesOf("MachineWithEngine"),
		unit:     cases, floor: 1000, each: 90,
	},
	{
		method:   "laws of order and grouping, memory and bbolt",
		promises: []string{"S2", "S3", "S4"},
		tests:    promisesOf("Laws"),
		unit:     cases, floor: 1000, each: 90,
	},
	{
		method:   "one list of actions on all backends, in all ways",
		promises: []string{"S1", "S2", "S4", "L1", "F1"},
		tests:    promisesOf("Metamorphic"),
		unit:     cases, floor: 1000, each: 90,
	},
	{
		method:   "overlapping calls, linearizable, memory and bbolt",
		promises: safety,
		tests:    promisesOf("Linearizable"),
		unit:     operations, floor: 50_000, each: 600,
	},
	{
		method:   "every schedule of small scopes, memory",
		promises: []string{"S1", "S2", "S3", "S4", "S7", "L1"},
		tests:    []test{{"tokenstoretest", "TestMemstore/Exhaustive"}},
		unit:     schedules, floor: 10_000,
	},
	{
		method:   "every schedule of small scopes, bbolt",
		promises: []string{"S1", "S2", "S3", "S4", "S7", "L1"},
		tests:    []test{{"boltstore", "TestPromises/Exhaustive"}},
		unit:     schedules, floor: 10_000,
	},
	{
		method:   "every call of the store fails, memory and bbolt",
		promises: []string{"S4", "S7", "L1", "F1"},
		tests:    promisesOf("Faults"), // a case for each call that there is, whatever the effort
		unit:     cases, floor: 180, each: 85, fixed: true,
	},
	{
		method:   "killed by SIGKILL, bbolt",
		promises: []string{"S5", "F1"},
		tests:    []test{{"boltstore", "TestCrash"}},
		unit:     kills, floor: 100,
	},
	{
		method:   "killed by SIGKILL while backing up or restoring, bbolt",
		promises: []string{"S4", "S5"},
		tests:    []test{{"boltstore", "TestBackupKilled"}, {"boltstore", "TestRestoreKilled"}},
		unit:     kills, floor: 100,
	},
	{
		method:   "power cut, unsynced writes lost or torn, bbolt",
		promises: []string{"S1", "S3", "S5", "F1"},
		tests:    []test{{"boltstore/powercut", "TestPowerCut"}, {"boltstore/powercut", "TestPowerCutWhileCreated"}},
		unit:     cuts, floor: 300,
	},
	{
		method:   "power cut while a file is compacted, repaired, backed up or restored, bbolt",
		promises: []string{"S5"},
		tests:    []test{{"boltstore/powercut", "TestPowerCutWhileRemade"}},
		unit:     cuts, floor: 300,
	},
	{
		method:   "every operation of the disk fails, kind by kind, bbolt", // all of them, whatever the effort
		promises: []string{"S5"},
		tests:    []test{{"boltstore/powercut", "TestDiskFaults"}, {"boltstore/powercut", "TestRemakeFaults"}},
		unit:     passed, floor: 35, each: 10, fixed: true,
	},
	{
		method:   "died at each failpoint of bbolt, at work",
		promises: []string{"S1", "S3", "S5", "F1"},
		tests:    []test{{"boltstore/failpoints", "TestFailpoints/DeathAtWork"}},
		unit:     cuts, floor: 100,
	},
	{
		method:   "each failpoint of bbolt ends the process, or fails, each time that it is passed", // all of them, whatever the effort
		promises: []string{"S5"},
		tests:    []test{{"boltstore/failpoints", "TestFailpoints/EveryDeath"}, {"boltstore/failpoints", "TestFailpoints/EveryFailure"}},
		unit:     passed, floor: 32, each: 11, fixed: true,
	},
	{
		method:   "random planners",
		promises: []string{"L1", "L2"},
		tests: []test{{"revocation", "TestL1PlannerConverges"}, {"revocation", "TestL2PlannerIsFair"},
			{"revocation", "TestL2PlannerSharesItsMemory"}},
		unit: cases, floor: 3000, each: 900,
	},
	{
		method:   "stories told, memory and bbolt",
		promises: []string{"S1", "S2", "S3", "S4", "L1", "L2"},
		tests:    []test{{"revocation", "TestStories"}},
		unit:     stories, floor: 34, fixed: true,
	},
}

// effort is how much is tried.
type effort struct {
	times   float64  // times the floors of what is counted
	env     []string // for every package
	disk    []string // for packages whose every case writes to a disk, after env
	timeout string   // of each package
	all     bool     // whether the promises without a number are tested too
}

// disk are the packages whose every case writes to a disk.
var disk = []string{"boltstore"}

var efforts = map[string]effort{
	"short": {times: 0.05, timeout: "10m",
		env: []string{"RAPID_CHECKS=60", "CRASH_ROUNDS=10", "POWERCUTS=15", "EXHAUSTIVE=small"}, disk: []string{"RAPID_CHECKS=10"}},
	"": {times: 1, timeout: "20m", all: true,
		env: []string{"RAPID_CHECKS=1000", "CRASH_ROUNDS=100", "POWERCUTS=300"}, disk: []string{"RAPID_CHECKS=100"}},
	"long": {times: 30, timeout: "12h", all: true,
		env: []string{"RAPID_CHECKS=40000", "CRASH_ROUNDS=3000", "POWERCUTS=9000", "EXHAUSTIVE=long"}, disk: []string{"RAPID_CHECKS=4000"}},
}

// rows returns those of the rows that are tested with this effort.
func (e effort) rows(all []row) []row {
	return slices.DeleteFunc(slices.Clone(all), func(r row) bool { return !e.all && r.promise.id == "" })
}

// least is what a row must have tried.
func (e effort) least(c check) int { return e.scale(c, c.floor) }

// leastOfEach is what each test of a row must have tried.
func (e effort) leastOfEach(c check) int { return e.scale(c, c.each) }

func (e effort) scale(c check, floor int) int {
	if c.fixed {
		return floor
	}
	times := e.times
	if c.unit == schedules { // there are no more than there are, however long it takes
		times = min(times, 1)
	}
	return max(1, int(float64(floor)*times))
}
