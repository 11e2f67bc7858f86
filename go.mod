module vkconv

go 1.25.0
