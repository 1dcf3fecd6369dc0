output "function_name" {
  description = "The function."
  value       = module.function.function_name
}

output "role_name" {
  description = "The function's role: what its handlers may do."
  value       = module.function.role_name
}

output "log_group_name" {
  description = "Where agents log."
  value       = module.function.log_group_name
}
