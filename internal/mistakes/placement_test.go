package mistakes

// placement are mistakes in how an arena finds out where its pages lie, and mends it, and in where
// barns and lists of slabs lie.
var placement = []mistake{
	{"BlockTakenMeanwhile", "a dirty block that lies on another node is discarded although it was taken meanwhile",
		test{pkg: "arena", pattern: `^TestBlockTakenMeanwhile$`}, `lost what was written`, `
arena/observe_mend.go
-		if page >= z.bump || z.pages.state(page) != dirty|pageState(order) {
+		if page >= z.bump || z.pages.state(page).kind() == inner {
`},
	{"MisplacedReused", "free pages that lie on another node are used again",
		test{pkg: "arena", pattern: `^TestPagesComeHome$`}, `with room: `, `
arena/observe_mend.go
-			a.discardBlock(z, block.page, block.order)
`},
	{"LostNodeUnseen", "the cpuset is not looked at once the arena is open",
		test{pkg: "arena", pattern: `^TestNodesComeAndGo$`}, `step 1: placement`, `
arena/observe.go
-	changed := a.updateNodes()
+	changed := false
`},
	{"BarnsGivenUp", "the memory of barns is used again while their Set is open",
		test{pkg: "sheaves", pattern: `^TestBarnsAreUsedAgain$`}, `is another one's`, `
sheaves/barn.go
-	memory, owner := (*nodemem.Nodes)(cfg.NodeMemory), &s.barns[0]
+	memory, owner := (*nodemem.Nodes)(cfg.NodeMemory), new(barn)
`},
	{"ListsGivenUp", "the memory of the lists of slabs is used again while their cache is open",
		test{pkg: "slub/internal/slab", pattern: `^TestNodesAreUsedAgain$`}, `are another node's`, `
slub/internal/slab/config.go
-	words := nodemem.Make[nodeWords](cfg.Arena.NodeMemory(), len(nodes), &s.nodes[0])
+	words := nodemem.Make[nodeWords](cfg.Arena.NodeMemory(), len(nodes), new(node))
`},
	{"AllOnFirstNode", "barns and lists of all nodes lie on the first node",
		test{pkg: "internal/nodemem", pattern: `^TestMake$`}, `lies on node 3, want 1`, `
internal/nodemem/nodes.go
-	return n.on[i]
+	return n.on[0]
`},
	{"NotCleared", "a barn or list that is used again has the words of the last one",
		test{pkg: "internal/nodemem", pattern: `^TestReuse$`}, `is not zeroed`, `
internal/nodemem/machine.go
-	mem.Zero(s.addr, k.class.size) // also gives a fresh page its memory
`},
}
