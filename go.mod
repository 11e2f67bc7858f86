module vkconv

go 1.25.0

require (
	codeberg.org/sbinet/npyio v0.14.0
	github.com/go-gl/glfw/v3.3/glfw v0.0.0-20260823155953-d41da22a9587
	github.com/vulkan-go/vulkan v0.0.0-20221209234627-c0a353ae26c8
	golang.org/x/image v0.45.0
	golang.org/x/perf v0.0.0-20250909190841-7e13e04d9366
	golang.org/x/sys v0.47.0
	gonum.org/v1/gonum v0.17.0
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/aclements/go-moremath v0.0.0-20210112150236-f10218a38794 // indirect
	github.com/nlpodyssey/gopickle v0.3.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)
