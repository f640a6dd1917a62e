package main

// The names that contenders have in the report.
const (
	boltName    = "boltstore"
	eventsName  = "boltstore, all events"
	memName     = "memstore"
	managerName = "manager on memstore"
	mapName     = "floor: map + SHA-256 + one field"
	indexName   = "floor: bare maps and orders, token copied out"
	askedName   = "floor: the same, asked as a store is"
	copiedName  = "floor: rows checked and copied, by id alone"
	syncName    = "floor: fdatasync of 4 KiB"
	bareName    = "floor: bare bbolt commits"
	batchName   = "bbolt, db.Batch"
	pebbleName  = "pebble"
	redisName   = "Redis, appendfsync always"
	pgName      = "PostgreSQL"
	fositeName  = "fosite MemoryStore"
)

func scaleName(tokens int) string { return "boltstore of " + short(float64(tokens)) }
