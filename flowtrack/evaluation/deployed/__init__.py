"""What a bundle gives on a data set, through the runtime: what is measured is what is deployed."""
