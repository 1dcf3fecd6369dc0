module htcgrid

go 1.23
