module vkconv

go 1.25.0

require (
	github.com/vulkan-go/vulkan v0.0.0-20221209234627-c0a353ae26c8
	golang.org/x/sys v0.38.0
	gonum.org/v1/gonum v0.17.0
)
