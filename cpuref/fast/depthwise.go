package fast

// depthwise placeholder
type depthwise struct{}
