package tokenstoretest

// Calls of the scopes.

func issues(name, user, session string) task {
	return task{kind: toIssue, name: name, user: user, session: session}
}

func imports(name, user, session string) task {
	return task{kind: toImport, name: name, user: user, session: session}
}

func exchanges(name string, generation int) task {
	return task{kind: toExchange, name: name, generation: generation}
}

func introspects(name string) task       { return task{kind: toIntrospect, name: name} }
func revokesUser(name, user string) task { return task{kind: toRevoke, name: name, user: user} }
func revokesSession(name, s string) task { return task{kind: toRevoke, name: name, session: s} }
func revokesClient(name, client string) task {
	return task{kind: toRevoke, name: name, client: client}
}

func revokesUserAt(name, user, client string) task {
	return task{kind: toRevoke, name: name, user: user, client: client}
}

func calls(name string, tasks ...task) part { return part{name: name, tasks: tasks} }

var (
	forget  = task{kind: toForget, name: "f1"}
	another = part{name: "other"} // the planner of another process
)

// issuesAsOf is an authentication, and an issue that stems from it.
func issuesAsOf(name, token, user, session string) []task {
	issue := issues(token, user, session)
	issue.asOf = name
	return []task{{kind: toAuthenticate, name: name}, issue}
}

// twins exchange the same secret.
func twins(name string) []part {
	return []part{calls("A", exchanges(name, 0)), {name: "B", tasks: []task{exchanges(name, 0)}, twin: 1}}
}

// scopes are what is played. Each has what can go wrong between its parts, and little more: a call more multiplies the schedules. The
// small ones come first, so that what they find is told by a short story.
var scopes = []scope{
	{
		name: "crash while one is exchanged and two are revoked", crashes: 1,
		setup: []task{issues("t1", "ann", "s1"), issues("t2", "ann", "s2")},
		parts: []part{calls("A", exchanges("t1", 0)), calls("B", revokesUser("r1", "ann"))},
	},
	{
		name: "crash while two revocations of one user are swept", crashes: 1,
		setup: []task{issues("t1", "ann", "s1")},
		parts: []part{calls("A", revokesUser("r1", "ann")), calls("B", revokesUserAt("r2", "ann", "web"))},
	},
	{
		name: "an import is repeated while its guard is forgotten", crashes: 1,
		setup: []task{imports("t1", "ann", "s1")},
		parts: []part{calls("A", revokesUser("r1", "ann")), calls("B", imports("t1", "", "")), calls("C", forget)},
	},
	{
		name:  "an issue stems from a login",
		parts: []part{calls("A", issuesAsOf("l1", "t1", "ann", "s1")...), calls("B", revokesUser("r1", "ann")), calls("C", forget)},
	},
	{
		name: "an issue is repeated after it was revoked and swept", losses: 1, crashes: 1,
		parts: []part{calls("A", issues("t1", "ann", "s1")), calls("B", revokesUser("r1", "ann"))},
	},
	{
		name: "two exchanges of one secret, a lost answer and a crash", losses: 1, crashes: 1,
		setup: []task{issues("t1", "ann", "s1")},
		parts: twins("t1"),
	},
	{
		name: "replay while the session is revoked", strict: true,
		setup: []task{issues("t1", "ann", "s1"), issues("t2", "ann", "s1")},
		parts: append(twins("t1"), calls("C", introspects("t2")), calls("D", revokesSession("r1", "s1"))),
	},
	{
		name:  "two planners sweep one revocation",
		setup: []task{issues("t1", "ann", "s1"), issues("t2", "ann", "s2")},
		parts: []part{calls("A", revokesUser("r1", "ann")), another},
	},
	{
		name:  "the same is revoked again",
		setup: []task{issues("t1", "ann", "s1"), issues("t2", "ann", "s2")},
		parts: []part{calls("A", revokesUser("r1", "ann"), issues("t3", "ann", "s1"), introspects("t3")), calls("B", revokesUser("r2", "ann"))},
	},
	{
		name:  "one walk sweeps for two",
		setup: []task{issues("t1", "ann", "s1"), issues("t2", "bob", "s2")},
		parts: []part{calls("A", revokesClient("r1", "web")), calls("B", revokesUser("r2", "ann")), calls("C", issues("t3", "cid", "s3"))},
	},
	{
		name: "crash while two overlapping revocations are swept", crashes: 1, size: middle,
		setup: []task{issues("t1", "ann", "s1"), issues("t2", "ann", "s2")},
		parts: []part{calls("A", revokesUser("r1", "ann")), calls("B", revokesUserAt("r2", "ann", "web")), calls("C", issues("t3", "ann", "s3"))},
	},
	{
		name: "an import is repeated twice while its guard is forgotten", crashes: 1, size: wide,
		setup: []task{imports("t1", "ann", "s1")},
		parts: []part{calls("A", revokesUser("r1", "ann")), calls("B", imports("t1", "", ""), imports("t1", "", "")), calls("C", forget)},
	},
	{
		name: "the successor is exchanged, a lost answer and a crash", losses: 1, crashes: 1, size: wide,
		setup: []task{issues("t1", "ann", "s1")},
		parts: append(twins("t1"), calls("C", exchanges("t1", 1))),
	},
	{
		name: "an issue stems from a login before two revocations", losses: 1, size: wide,
		parts: []part{
			calls("A", issuesAsOf("l1", "t1", "ann", "s1")...), calls("B", revokesUser("r1", "ann")), calls("C", revokesSession("r2", "s1")), calls("D", forget),
		},
	},
	{
		name: "replay, and a lost answer", strict: true, losses: 1, size: wide,
		setup: []task{issues("t1", "ann", "s1"), issues("t2", "ann", "s1")},
		parts: append(twins("t1"), calls("C", introspects("t2"), introspects("t1")), calls("D", revokesSession("r1", "s1"))),
	},
	{
		name: "crash while one walk sweeps for two", crashes: 1, size: wide,
		setup: []task{issues("t1", "ann", "s1"), issues("t2", "bob", "s2")},
		parts: []part{calls("A", revokesClient("r1", "web")), calls("B", revokesUser("r2", "ann")), calls("C", issues("t3", "cid", "s3"))},
	},
	{
		name: "three issues, two exchanges, two overlapping revocations", size: wide,
		parts: []part{
			calls("A", issues("t1", "ann", "s1"), exchanges("t1", 0)), calls("B", issues("t2", "ann", "s2"), issues("t3", "bob", "s1")),
			calls("C", exchanges("t1", 0)), calls("D", revokesUser("r1", "ann")), calls("E", revokesSession("r2", "s1")),
		},
	},
	{
		name: "an issue, two exchanges, two overlapping revocations, and a crash", crashes: 1, size: long,
		parts: []part{
			calls("A", issues("t1", "ann", "s1"), exchanges("t1", 0)), calls("B", exchanges("t1", 0)),
			calls("C", revokesUser("r1", "ann")), calls("D", revokesSession("r2", "s1")),
		},
	},
	{
		name: "two planners sweep two overlapping revocations", size: wide,
		setup: []task{issues("t1", "ann", "s1"), issues("t2", "ann", "s2")},
		parts: []part{calls("A", revokesUser("r1", "ann")), another, calls("B", revokesSession("r2", "s2"))},
	},
}
