package management

// Route is a route as the tests see it.
type Route struct {
	Method, Path string
	Scopes       []string
	Static       bool
}

// Routes are all that is served.
func Routes() []Route {
	var all []Route
	for _, r := range routes() {
		all = append(all, Route{r.method, r.path, r.scopes, r.static != nil})
	}
	return all
}

// MaxCallers is how many callers each generation of limits tells apart.
const MaxCallers = maxCallers

// MaxWalk is how many tokens a list of device credentials looks at.
const MaxWalk = maxWalk
